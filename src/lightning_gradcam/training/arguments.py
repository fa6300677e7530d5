"""What the callback is asked for, refused as far as that goes without a model or data."""

from collections.abc import Sequence
from dataclasses import dataclass

from lightning_gradcam.cam.plan import Plan
from lightning_gradcam.cam.settings import Settings
from lightning_gradcam.errors import SettingError, nearest, quoted
from lightning_gradcam.pictures.appearance import Appearance
from lightning_gradcam.pictures.captions import to_header
from lightning_gradcam.pictures.shown import check_names
from lightning_gradcam.training.asked import Images, check_images
from lightning_gradcam.training.batches import Keys

SCALES = ("image", "run")


@dataclass(frozen=True)
class Arguments:
    """The callback's arguments, under their names; `settings`, `keys` and `appearance` hold several of them.

    Raises:
        SettingError: a value that cannot work.
        TypeError: a value of another type than accepted.
    """

    settings: Settings
    keys: Keys
    images: Images
    every_n_epochs: int
    appearance: Appearance
    class_names: Sequence[str] | None
    scale: str
    name: str | None = None
    every_n_train_steps: int | None = None

    def __post_init__(self) -> None:
        check_images(self.images)
        _check_every(self.every_n_epochs, self.every_n_train_steps)
        check_names(self.class_names)
        _check_scale(self.scale, self.settings)
        _check_name(self.name)

    @property
    def by_run(self) -> bool:
        """Whether maps are drawn as shares of the highest peak that their image has had."""
        return self.scale == "run"

    def about(self, plan: Plan, labelled: bool, class_names: Sequence[str] | None) -> str:
        """Say what the pictures are of, for their headers."""
        scale = ["scale: run"] if self.by_run else []
        return "  ·  ".join([to_header(plan, labelled, class_names), *scale])


def _check_every(epochs: object, steps: object) -> None:
    for name, value in (("every_n_epochs", epochs), ("every_n_train_steps", steps)):
        if value is None and name == "every_n_train_steps":
            continue
        if isinstance(value, bool) or not isinstance(value, int):
            raise TypeError(f"{name}={quoted(value)} is not an int; accepted is 1 or more")
        if value < 1:
            raise SettingError(f"{name}={value}; accepted is 1 or more")
    if steps is not None and epochs != 1:
        raise SettingError(f"every_n_epochs={epochs} and every_n_train_steps={steps}: accepted is one of them")


def _check_name(name: object) -> None:
    if name is None:
        return
    if not isinstance(name, str):
        raise TypeError(f"name={quoted(name)} is a {type(name).__name__}; accepted is a word that stands in the tags")
    if not name.strip() or "/" in name or not name.isprintable():
        raise SettingError(f"name={quoted(name)} cannot stand in a tag; accepted is a word without a slash")


def _check_scale(scale: object, settings: Settings) -> None:
    if scale not in SCALES:
        raise SettingError(f"scale={quoted(scale)} is neither 'image' nor 'run'{nearest(str(scale), SCALES)}")
    if scale == "run" and not settings.has_peaks:
        cause = "aug_smooth=True" if settings.aug_smooth else f"method={settings.method_name!r}"
        raise SettingError(
            f"scale='run' draws each map by its strength, and the maps of {cause} have none, only a place; accepted "
            "with it is scale='image'"
        )
