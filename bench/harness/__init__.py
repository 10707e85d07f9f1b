"""What the rows share: measuring, reporting, and the servers that they need."""
