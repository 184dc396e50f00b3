"""The guided network fitted to one scene from its own Wald pairs."""
