"""The Wald protocol, scores against a reference, and the guide check."""
