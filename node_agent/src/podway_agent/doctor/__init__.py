"""``podway-agent check``: looks at a node as it is, and reports what is wrong with it."""
