"""The command line: thin, the same calls as the flows."""

__version__ = "0.1.0"
