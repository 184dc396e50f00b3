"""STAC items: read from files, stores and the web, and opened as a scene of one asset a band."""
