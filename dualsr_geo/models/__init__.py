"""The models, their weights, and the corrections by networks."""
