"""Estimate the time, memory and disk space of a search before it starts, by sampling its space and measuring steps."""
