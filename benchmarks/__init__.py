"""Measurements that can be repeated; each says by `--help` what it compares."""
