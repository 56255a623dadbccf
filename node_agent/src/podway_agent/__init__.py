"""The node agent: programs one node's kernel from its subnet's snapshot."""
