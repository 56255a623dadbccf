"""Evidence and verdicts: which nodes can be trusted with traffic of others."""
