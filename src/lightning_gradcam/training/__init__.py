"""The trainer's side: the images, when to look, and one stage's looking."""
