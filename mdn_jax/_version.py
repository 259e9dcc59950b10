"""The version, in one place below everything that notes it."""

__version__ = "0.1.0"
