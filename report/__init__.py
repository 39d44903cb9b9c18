"""The report of a migration: what it says, and how it is written as JSON, as Markdown and as one HTML page."""
