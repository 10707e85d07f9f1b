"""What is accepted: which URLs, which addresses, which names of refs."""
