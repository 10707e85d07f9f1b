"""The pre-flight: the real scheduler code in a world of its own, with the flag off and on."""
