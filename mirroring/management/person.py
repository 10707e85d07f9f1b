"""Who sits at the terminal, as the audit keeps it."""

import getpass
import os


def who() -> str:
    """Return the user of the system that runs the command."""
    try:
        return f"cli:{getpass.getuser()}"
    except (KeyError, OSError):  # A container may run under a number that has no name.
        return f"cli:uid {os.getuid()}"
