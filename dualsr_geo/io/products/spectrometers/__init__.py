"""Products of imaging spectrometers, as their providers deliver them."""
