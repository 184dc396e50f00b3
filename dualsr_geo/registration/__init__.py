"""Registration of the guide to the scene, and the blur of the scene against it."""
