"""Scenes of one or two bands, which are predicted from their guide."""
