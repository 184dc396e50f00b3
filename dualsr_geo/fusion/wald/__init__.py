"""Wald pairs: the sample degraded once more, the starts of its blocks, and what is estimated on it."""
