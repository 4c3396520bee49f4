"""Open data, fetched as its owners give it: a folder that `prepare` and `predict` know by its files."""
