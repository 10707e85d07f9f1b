"""The flow of a mirror through the scheduler: dispatch, scheduling, importing; and repair."""
