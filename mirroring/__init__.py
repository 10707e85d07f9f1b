"""Keeps copies of Git repositories fresh, inside a fixed concurrency budget."""
