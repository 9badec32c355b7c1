"""Which settings are tried next: samplers by name, and the one of a search that halves."""
