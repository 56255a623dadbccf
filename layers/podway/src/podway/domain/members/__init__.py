"""Who belongs to the cluster, whether it is ready, and what its siblings are told of it."""
