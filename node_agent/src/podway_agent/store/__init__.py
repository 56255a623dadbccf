"""Between the store and this node: snapshots come, reports go."""
