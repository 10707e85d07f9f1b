"""What is reached over HTTP: the admin, clones, health and metrics."""
