"""What a search may vary: one file per space, each with `suggest(trial, scale)` and `BASELINES`, importing nothing."""
