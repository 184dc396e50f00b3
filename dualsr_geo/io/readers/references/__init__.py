"""Files that a scene may name, and drivers that may open it."""
