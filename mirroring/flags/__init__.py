"""Feature flags: definitions in the repository, one row each, one function that changes them."""
