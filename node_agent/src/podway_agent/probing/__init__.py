"""Probes through forwarders: which ones, by which paths, and what the answers say."""
