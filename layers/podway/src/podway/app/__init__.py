"""Use cases: the order of work. The handlers and the command call them; they call the ports in ports.py."""
