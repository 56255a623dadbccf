"""The world: the only place that knows AWS's spelling and error codes."""
