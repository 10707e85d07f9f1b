"""Break every part of a working product at random, and have independent instruments watch it."""
