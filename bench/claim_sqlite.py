"""Claim 500 of a fleet that is all due, on SQLite: through our code, against a bare unfair claim."""

from functools import partial

from bench.claim import rows
from bench.harness.command import main

if __name__ == "__main__":
    main("claim_sqlite", partial(rows, database="sqlite"))
