"""Addresses for nodes: every subnet owns supernets, every node blocks inside a supernet of its subnet."""
