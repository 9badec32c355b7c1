"""The output of a running search: a live display on a terminal, else lines."""
