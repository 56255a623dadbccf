"""The operator's command ``podway``, over the same use cases as the functions."""
