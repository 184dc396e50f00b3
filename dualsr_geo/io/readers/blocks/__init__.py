"""Blocks of JPEG 2000: decoded once, and how many of them a run needs at once."""
