"""Fixtures of the catalog's tests."""

from tests.lab.fixtures import git_server, make_upstream, request_log  # noqa: F401
