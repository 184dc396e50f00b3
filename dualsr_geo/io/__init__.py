"""Scenes and guides from files, stores and xarray objects, and products written back."""
