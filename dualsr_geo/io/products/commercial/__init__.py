"""Products of commercial satellites, as their operators deliver them."""
