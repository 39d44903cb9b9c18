"""A small real Linux server to migrate, and the demonstration that migrates it."""
