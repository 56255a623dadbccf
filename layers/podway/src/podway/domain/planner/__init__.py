"""The best routes that fit the budget, kept stable while nodes come and go."""
