"""The stages after a search: cross-validation of its best trials, and the finalists on the test split."""
