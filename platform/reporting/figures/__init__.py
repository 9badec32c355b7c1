"""The figures of a report, one per file; numbers are computed apart from the plots, so that tests can check them."""
