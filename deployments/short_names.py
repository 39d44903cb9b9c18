"""Placeholder until the flows exist."""
