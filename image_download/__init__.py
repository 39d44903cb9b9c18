"""Stage 2: brings exported objects home as verified, sparse RAW files."""
