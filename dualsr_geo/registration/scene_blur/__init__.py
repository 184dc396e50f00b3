"""The blur of a scene, estimated from the scene without a guide."""
