"""What Kubernetes is told about this node, where the agent has credentials for it."""
