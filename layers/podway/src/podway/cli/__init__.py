"""The operator's command, over the same use cases."""
