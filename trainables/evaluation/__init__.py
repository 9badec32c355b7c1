"""What a model is evaluated on, and how."""
