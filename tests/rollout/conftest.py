from tests.making import configure, lost_tracker, make_mirror, new_tracker, tracker  # noqa: F401
from tests.rollout.making import away, by_mirror, course, elsewhere, heard  # noqa: F401
