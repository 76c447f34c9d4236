"""What peers say to each other: bytes to messages and back, and one pure endpoint per peer."""
