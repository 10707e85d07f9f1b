"""The Redis-backed job tracker: it counts what runs, and nothing else. Lose it and only time is lost."""
