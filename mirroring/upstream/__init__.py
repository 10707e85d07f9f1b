"""Everything that touches somebody else's server, and every git process."""
