"""Windows of a product on the fly: the survey of a scene is stored once, and any window is computed when it is read."""
