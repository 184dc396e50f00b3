"""Products opened as their providers deliver them, one module a kind."""
