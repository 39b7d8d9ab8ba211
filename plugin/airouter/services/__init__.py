"""Use cases over ports: what the router does, without knowing with what."""
