"""A mirror's repository on disk: what it holds, and how that is changed."""
