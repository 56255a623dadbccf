"""Shapes on the wire: what AWS, the store, the agents and the operators say. Validated here, once."""
