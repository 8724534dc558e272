"""Many configurations at once."""
