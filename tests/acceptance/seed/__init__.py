"""`make seed-walk`: the rollout issue that this project started from, walked on the real stack."""
