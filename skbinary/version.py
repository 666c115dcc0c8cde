"""The version of skbinary."""

__version__ = "0.1.0"
