"""What moves at once when a node fails, and to whom."""
