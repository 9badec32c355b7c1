"""Suggest the settings of the next trials: the samplers by name, and our own sampler for successive halving."""
