"""What an upstream is asked for and gives: its list of refs, and the objects that are missing."""
