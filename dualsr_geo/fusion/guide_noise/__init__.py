"""The noise of the guide: its level in each principal direction, and the filter that removes it."""
