"""One grammar for changing flags: from the shell, from Slack, and in other deployments over their API."""
