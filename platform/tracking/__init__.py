"""Track a search in MLflow: events go to a journal on disk first, a thread sends them, and a registry keeps models."""
