"""A checkpoint applied to images outside of its training."""
