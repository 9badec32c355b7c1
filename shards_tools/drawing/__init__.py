"""Anime-like faces from numbers: a style for each work, a character for each role, a pose for each image."""
