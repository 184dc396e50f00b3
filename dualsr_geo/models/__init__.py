"""Which models exist, their weights, and networks at work on one window."""
