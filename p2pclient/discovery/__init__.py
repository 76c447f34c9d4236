"""How a client finds its server on a LAN."""
