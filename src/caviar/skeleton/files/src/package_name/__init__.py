"""What is trained: a model and its data."""
