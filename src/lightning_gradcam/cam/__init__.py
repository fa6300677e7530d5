"""From a model and its inputs to maps."""
