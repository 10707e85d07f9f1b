"""The processes of one machine: which they are, how they start, and how they stop."""
