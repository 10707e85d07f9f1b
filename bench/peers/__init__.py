"""What we compare with, each as its own people would run it."""
