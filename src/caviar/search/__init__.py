"""A search: stages, refining, confirmation, verdict."""
