"""Draw anime-like faces: one style per work, one character per role, one pose per image."""
