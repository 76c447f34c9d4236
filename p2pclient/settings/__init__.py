"""Settings from flags and files, read in one place."""
