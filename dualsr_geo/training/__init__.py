"""Fit a network: what is to be learned (lessons), and the one loop that learns it."""
