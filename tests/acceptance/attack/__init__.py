"""`make attack`: everything that an upstream can do to us, done to the real stack on a network of its own."""
