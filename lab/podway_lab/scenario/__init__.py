"""Scenarios: their language, the stage they play on, the sentences, and the player."""
