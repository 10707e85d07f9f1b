"""Instruments that watch a run of the chaos from outside: Redis, the rows, and the refs on disk."""
