"""Settings beside one another: mean, deviation and paired tests, of numbers and of a study."""
