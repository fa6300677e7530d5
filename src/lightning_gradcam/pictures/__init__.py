"""Maps over images, as pictures."""
