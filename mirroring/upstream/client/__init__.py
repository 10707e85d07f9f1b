"""Asking upstreams from inside this process, over HTTP and without git."""
