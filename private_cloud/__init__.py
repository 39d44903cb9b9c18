"""Stage 5: what the other side needs to run the converted images."""
