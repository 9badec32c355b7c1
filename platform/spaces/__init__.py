"""Search spaces: load, validate, sample, grid, constrain and show them."""
