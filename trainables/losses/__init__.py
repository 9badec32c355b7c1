"""The losses, one thing per file; a recipe says which and how much of each. `registry` knows them by name."""
