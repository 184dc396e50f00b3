"""Training-free sharpening of one window."""
