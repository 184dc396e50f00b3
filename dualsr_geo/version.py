"""The version, where every module can have it without importing the package's surface."""

__version__ = "0.2.0"
