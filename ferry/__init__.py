"""The command line: thin, the same calls as the flows."""
