"""Which images are asked for: how many, which, or these."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from lightning_gradcam.cam.settings import check_tensor
from lightning_gradcam.errors import SettingError, quoted
from lightning_gradcam.logs.packing import fingerprint_of_set, fingerprints
from lightning_gradcam.training.batches import Keys
from lightning_gradcam.training.probe_set import ProbeSet
from lightning_gradcam.values import plain

_MOST_SAID = 200  # letters of a list of them

Images = int | Sequence[int] | Tensor | tuple[Tensor, Tensor]


def plain_images(images: Any) -> Any:
    """Return a number or indices as Python has them, whichever library's they are; tensors of images stay."""
    of_tensors = isinstance(images, (list, tuple)) and any(isinstance(one, Tensor) and one.dim() for one in images)
    return images if of_tensors or getattr(images, "ndim", 0) > 1 else plain(images)


def check_images(images: object) -> None:
    """Refuse what can name no images.

    Raises:
        SettingError: no image, a negative index, a tensor that is not (N, C, H, W), or other than a label an image.
        TypeError: anything else that is not accepted.
    """
    items = list(images) if isinstance(images, Sequence) and not isinstance(images, str) else []
    if isinstance(images, Tensor):
        check_tensor(images)
    elif any(isinstance(item, Tensor) for item in items):
        _check_pair(items)
    elif isinstance(images, int) and not isinstance(images, bool):
        if images < 1:
            raise SettingError(f"images={images}; accepted is 1 or more")
    elif (
        isinstance(images, Sequence)
        and not isinstance(images, str)
        and all(isinstance(item, int) and not isinstance(item, bool) for item in items)
    ):
        if not items or min(items) < 0:
            raise SettingError(f"images={quoted(images)}; accepted are dataset indices, 0 or more, at least one")
    else:
        raise TypeError(
            f"images={quoted(images)}; accepted are how many, dataset indices, a tensor (N, C, H, W), or "
            "(tensor, labels)"
        )


def _check_pair(items: Sequence[object]) -> None:
    if len(items) != 2 or not all(isinstance(item, Tensor) for item in items):
        raise SettingError(f"images holds {len(items)} items; accepted with tensors is (images, labels), both tensors")
    images, labels = (item for item in items if isinstance(item, Tensor))
    check_tensor(images)
    if labels.dim() == 0 or len(labels) != len(images):
        raise SettingError(f"images has {len(images)} images, and labels of {tuple(labels.shape)}")


def given_probe_set(images: Images) -> ProbeSet | None:
    """Return the set that was given as tensors; None where the images are to be read from a dataset."""
    if isinstance(images, Tensor):
        return ProbeSet(images.detach().cpu().clone())
    if isinstance(images, (tuple, list)) and isinstance(images[0], Tensor) and isinstance(images[1], Tensor):
        return ProbeSet(images[0].detach().cpu().clone(), images[1].detach().cpu().clone())
    return None


def asked_for(images: Images, keys: Keys) -> str:
    """Say what was asked for, to tell whether a checkpoint's images are still it: how many, which, where in a batch."""
    given = given_probe_set(images)
    if given is not None:
        return f"tensor {fingerprint_of_set(fingerprints(given.images))}"
    which = str(images if isinstance(images, int) else list(images))
    if len(which) > _MOST_SAID:  # it is in each checkpoint, and in the name of the callback's state there
        which = f"indices {fingerprint_of_set([which])}"
    return ", ".join([which, *(f"{role}_key={key!r}" for role, key in vars(keys).items() if key is not None)])
