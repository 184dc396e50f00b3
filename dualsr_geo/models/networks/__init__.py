"""Networks, one module each, and their layers; a module of a network defines its ``ARCHITECTURE``."""
