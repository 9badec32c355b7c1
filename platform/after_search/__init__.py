"""What follows a search whose trials are done: its best on other folds, and its finalists on the test split."""
