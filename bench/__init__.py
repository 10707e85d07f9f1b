"""The claims of README's performance table: one command each, with the peers beside us in the same run."""
