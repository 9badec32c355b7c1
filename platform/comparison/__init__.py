"""Comparisons of settings: mean, standard deviation and paired tests."""
