"""Maps over time, and their numbers."""
