"""Where the guide lies on the scene, and how the scene is blurred."""
