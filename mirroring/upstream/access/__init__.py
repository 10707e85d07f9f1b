"""How one upstream is reached: the contact, the secret for it, SSH, redirects."""
