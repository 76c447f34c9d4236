"""What the server must not lose: the records, the interface that keeps them, and its implementations."""
