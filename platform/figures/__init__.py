"""What a report draws, one figure per file: the numbers apart from the drawing, so that tests can recompute them."""
