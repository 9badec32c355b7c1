"""What MLflow has of a search: told in a journal on disk first, sent by a thread, and models in its registry."""
