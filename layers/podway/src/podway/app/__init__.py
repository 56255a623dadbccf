"""Use cases: the order of work. What they need of the world is in ports.py."""
