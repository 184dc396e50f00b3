"""Files of arrays without metadata, as scenes."""
