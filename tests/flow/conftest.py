from tests.flow.processes import stack  # noqa: F401
from tests.lab.fixtures import git_server, make_upstream, request_log  # noqa: F401
from tests.making import configure, new_tracker, repositories_folder  # noqa: F401
