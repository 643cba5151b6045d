"""Pure functions from evidence to verdicts."""
