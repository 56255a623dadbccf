"""Probes through forwarders: whom, by which paths, and what the answers say."""
