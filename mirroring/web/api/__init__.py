"""The HTTP API: flags in GitLab's shape below /api/v4/, and what GitLab's lacks beside it."""
