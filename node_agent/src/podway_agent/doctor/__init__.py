"""``podway-agent check``: looks at a node as it is, and says what is wrong with it."""
