"""From the routes that are there to the routes that should be, one API call at a time."""
