"""What a person sees in a terminal: tables, lines, and a stage while it runs."""
