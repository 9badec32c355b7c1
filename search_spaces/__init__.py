"""Search spaces: each file defines `suggest(trial, scale)` and `BASELINES`, or several such in `SPACES`.

They import nothing.
"""
