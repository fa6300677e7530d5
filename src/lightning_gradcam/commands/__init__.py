"""What the command `lightning-gradcam` does, a room a task."""
