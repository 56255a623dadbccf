"""The node's side of the store: it reads its subnet's snapshots, and writes its own item."""
