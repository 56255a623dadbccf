"""Keeps this node's Node in Kubernetes as it should be, where the agent has credentials for it."""
