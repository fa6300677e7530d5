"""What is written under which tag: all that a writer and a reader of the event files share."""

ROOT = "gradcam"


def grid_tag(layer: str, test: bool = False) -> str:
    """Tag of a layer's picture grid; `trainer.test` has its own, since its images are others."""
    return f"{ROOT}/{layer}/test" if test else f"{ROOT}/{layer}"
