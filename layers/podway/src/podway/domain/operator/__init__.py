"""What people are shown of a cluster: overview, drift, limits."""
