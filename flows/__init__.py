"""The Prefect flows: thin, one file a flow; they order the stages, retry, and show progress."""
