"""How git is run: every process of it is started, bounded and ended here."""
