"""The observation model: point spread function, its linear operators, noise and consistency."""
