"""The implementation under test: its profile, and how it is launched or attached."""
