"""One file a subcommand; each holds a click command called `command`."""
