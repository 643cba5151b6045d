"""One module of checks for each group of requirements."""
