"""Scenarios: the language, its verbs, and who plays them."""
