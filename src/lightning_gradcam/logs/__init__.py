"""What is written, in which layout, and where it goes."""
