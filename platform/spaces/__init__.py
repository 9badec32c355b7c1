"""Search spaces: loaded and checked, drawn from, laid out as grids, limited by what a trial may cost, and shown."""
