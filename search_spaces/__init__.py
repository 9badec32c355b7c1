"""Search spaces: one file per space, which defines `suggest(trial, scale)` and `BASELINES` and imports nothing."""
