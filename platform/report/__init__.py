"""`python -m platform.report`: what a study has found, as a page, as text, as figures and as a table of its trials."""
