"""Changing flags safely: samples, guards, the controller, the plan, the simulator and the clean-up."""
