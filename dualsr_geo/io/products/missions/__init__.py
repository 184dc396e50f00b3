"""Products of public missions, as their archives deliver them."""
