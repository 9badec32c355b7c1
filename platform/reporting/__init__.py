"""`python -m platform.report`: report the results of a study as a web page, as text, as figures and as a table."""
