"""Wald pairs of a scene, the training-free starts of their blocks, and the weights of the candidates."""
