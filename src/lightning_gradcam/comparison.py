"""Which layer, which method? What each says of a trained model, with figures."""

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from PIL import Image
from torch import Tensor, nn
from tqdm import tqdm

from lightning_gradcam.cam.calls import Inputs, Output
from lightning_gradcam.cam.compute import compute_cams
from lightning_gradcam.cam.finding import candidates
from lightning_gradcam.cam.layers import takes_gray
from lightning_gradcam.cam.lend import Lender
from lightning_gradcam.cam.maps import Maps
from lightning_gradcam.cam.methods import METHODS, RELEVANCE
from lightning_gradcam.cam.plan import Plan, make_plan
from lightning_gradcam.cam.settings import Settings
from lightning_gradcam.cam.targets import Target
from lightning_gradcam.errors import SettingError, quoted
from lightning_gradcam.pictures.appearance import Appearance, Channels, Statistics
from lightning_gradcam.pictures.beside import Beside, beside
from lightning_gradcam.pictures.captions import to_target
from lightning_gradcam.pictures.given import Picture, Size, checked_labels, prepared
from lightning_gradcam.pictures.shown import ShownImages, check_names, check_names_fit, show_images
from lightning_gradcam.timeline.history import History
from lightning_gradcam.timeline.metrics import measure
from lightning_gradcam.values import plain

BLIND = 0.02  # class sensitivity: below it a map is the same whatever class is asked for
_TIMED = 8  # images
_UNDER = ("faithfulness", "in_mask")  # what stands under a picture


class Compared(NamedTuple):
    """What a method says at a layer, as means over the images.

    Attributes:
        layer: dotted name; "attention" of all blocks'.
        method: by name.
        faithfulness: -0.5..0.5, 0 by chance; NaN where no map shows anything.
        class_sensitivity: 0..1, 0 where the map is the same for the class that scores next; NaN where there is none.
        in_mask: 0..1, the share of the heat on the thing; NaN without masks.
        forwards: what the maps cost, in forward passes without gradients.
    """

    layer: str
    method: str
    faithfulness: float
    class_sensitivity: float
    in_mask: float
    forwards: float


@dataclass(frozen=True, eq=False)  # tensors are equal place by place
class Comparison:
    """Layers and methods, the best first: those that tell classes apart by their faithfulness, then those that do not.

    Attributes:
        rows: what each says.
        metrics: numbers of each map by name, (N,) each, row by row.
        maps: each row's maps.
        images: what they are of.
    """

    rows: list[Compared]
    metrics: list[dict[str, Tensor]]
    maps: list[Maps]
    images: ShownImages

    def __str__(self) -> str:
        """Return the table, without a column of what no row has."""
        columns = zip(Compared._fields, *self.rows, strict=True)
        there = [(name, *values) for name, *values in columns if any(value == value for value in values)]  # NaN is not
        shown = [[name.replace("_", " "), *map(_shown, values)] for name, *values in there]
        cells = [*zip(*shown, strict=True)]
        widths = [max(map(len, column)) for column in shown]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in cells]
        return "\n".join([lines[0].rstrip(), "-" * len(lines[0]), *(line.rstrip() for line in lines[1:])])

    def to_dicts(self) -> list[dict[str, Any]]:
        """Return the rows as dicts, as `pandas.DataFrame` takes them."""
        return [row._asdict() for row in self.rows]

    def picture(self, image: int = 0, name: str | None = None) -> Image.Image:
        """Return one picture: an image by each method at each layer, best first, with its own numbers under it.

        Args:
            image: its place among the images.
            name: what the header calls it; None: by its place.

        Raises:
            SettingError: there are not so many.
        """
        count = len(self.images.pictures)
        if not 0 <= image < count:
            raise SettingError(f"image={image} is none of the {count}; accepted are 0 to {count - 1}")
        pairs = zip(self.rows, self.metrics, self.maps, strict=True)
        cells = [_cell(row, numbers, maps, image, self.images.size) for row, numbers, maps in pairs]
        caption = self.images.captions(self.maps[0])[image].text
        return beside(self.images.pictures[image], caption, cells, name or f"image {image}", self.images.about)


def _cell(row: Compared, numbers: dict[str, Tensor], maps: Maps, image: int, size: tuple[int, int]) -> Beside:
    own = [f"{name} {_shown(float(numbers[name][image]))}" for name in _UNDER if name in numbers]
    alone = maps.of(slice(image, image + 1), maps.maps.device)
    heat, state = alone.heatmaps(size)[0, 0].numpy(), int(alone.states[0, 0])
    return Beside((row.method, row.layer, *own), heat, state)


def _shown(value: str | float) -> str:
    """A name, or a number to two digits; nothing of NaN."""
    return value if isinstance(value, str) else "" if value != value else f"{value:.2f}"


def compare(
    model: nn.Module,
    images: Tensor | Sequence[Picture],
    labels: Tensor | Sequence[int] | None = None,
    layers: Sequence[str] | None = None,
    methods: Sequence[str] | None = None,
    *,
    masks: Tensor | None = None,
    target: Target = "predicted",
    task: str | None = None,
    mean: Statistics | None = None,
    std: Statistics | None = None,
    channels: Channels | None = None,
    class_names: Sequence[str] | None = None,
    size: Size | None = None,
    batch_size: int | None = None,
    output: Output | None = None,
) -> Comparison:
    """Measure what each method says at each layer of a trained model, which is left as it was.

    Each pair costs some five to nine forward passes without gradients; a bar tells how far it is.

    Args:
        model: as in `explain`.
        images: as in `explain`; the more, the surer: 32 tell much.
        labels: as in `explain`.
        layers: dotted names; None takes the one that is looked at unconfigured, the last of each size of map, and of
            tokens the norms.
        methods: by name; None takes all that are computed on the model's device, "relevance" where it fits.
        masks: (N, H, W) or (N, 1, H, W), true on the thing, for `in_mask`.
        target: one class an image, as in `explain`.
        task: as in `explain`.
        mean: as in `explain`.
        std: as in `explain`.
        channels: as in `explain`.
        class_names: as in `explain`.
        size: as in `explain`.
        batch_size: as in `explain`.
        output: as in `explain`.

    Raises:
        ValueError: a setting or an image that cannot work; the sentence names it.
        TypeError: a value of another type than accepted.
    """
    check_names(class_names)
    appearance = Appearance(plain(mean), plain(std), plain(channels))
    ready, shown, appearance = prepared(images, plain(size), appearance, takes_gray(model))
    known, things = checked_labels(labels, len(ready)), _checked_masks(masks, ready)
    asked = Settings(target=target, task=task, batch_size=batch_size, output=output)
    if asked.targets > 1:
        raise SettingError(f"target={quoted(target)} is several classes an image; accepted here is one")
    trial = _Trial(Lender(model), Inputs(ready), known, asked, len(class_names or ()))
    pairs = trial.pairs(_words("layers", layers), _words("methods", methods))
    plan = trial.plan(pairs[0])
    check_names_fit(class_names, plan.task)
    with tqdm(pairs, desc="compare") as bar:  # it stays, so that what is printed next begins a line
        found = [trial.compared(settings, things) for settings in bar]
    found.sort(key=lambda one: _place(one[0]))
    rows, metrics, maps = ([one[part] for one in found] for part in range(3))
    truth = plan.known(known).truth
    about = f"{to_target(plan, truth is not None, class_names)}  ·  {plan.task.kind}"
    pictures = show_images(shown, truth, plan.task, appearance, about, class_names)
    return Comparison(rows, metrics, maps, pictures)  # type: ignore[arg-type]


def _place(row: Compared) -> tuple[bool, bool, float]:
    is_blind = not row.class_sensitivity >= BLIND  # also where all maps are blank
    return row.faithfulness != row.faithfulness, is_blind, -row.faithfulness


@dataclass(frozen=True)
class _Trial:
    lender: Lender
    inputs: Inputs
    labels: Tensor | None
    settings: Settings
    named: int  # classes

    def plan(self, settings: Settings) -> Plan:
        return self.lender.look(self._planned, settings)

    def _planned(self, lent: nn.Module, settings: Settings) -> Plan:
        return make_plan(lent, self.inputs, self.labels, settings, named=self.named)

    def pairs(self, layers: Sequence[str] | None, methods: Sequence[str] | None) -> list[Settings]:
        of_layers = [one for one in methods or METHODS if one != RELEVANCE]
        for layer in layers or ():
            self._check(replace(self.settings, target_layer=layer, method=next(iter(of_layers), None)))
        layers = self._candidates() if layers is None else layers
        found = [replace(self.settings, target_layer=layer, method=one) for layer in layers for one in of_layers]
        if methods is None or RELEVANCE in methods:
            found += self._relevance(is_asked=methods is not None)
        return found

    def _check(self, settings: Settings) -> None:
        """Tell a wrong layer before all others are measured, by the argument that has it here."""
        try:
            self.plan(settings)
        except SettingError as error:
            raise SettingError(re.sub("^target_layer=", "layers=", str(error))) from None

    def _relevance(self, is_asked: bool) -> list[Settings]:
        settings = replace(self.settings, method=RELEVANCE)
        try:
            self.plan(settings)
        except SettingError:
            if is_asked:
                raise
            return []
        return [settings]

    def _candidates(self) -> list[str]:
        def found(lent: nn.Module, settings: Settings) -> list[str]:
            plan = self._planned(lent, settings)
            few = self.inputs.of([0, min(1, len(self.inputs.images) - 1)]).on(lent)
            layers = candidates(lent, lambda images: plan.rows_of(lent, few.instead(images))[1], few.images)
            return [*dict.fromkeys([*plan.names, *layers])]

        return self.lender.look(found, self.settings)

    def compared(self, settings: Settings, masks: Tensor | None) -> tuple[Compared, dict[str, Tensor], Maps]:
        def looked(lent: nn.Module, own: Settings) -> tuple[float, Maps]:
            plan = self._planned(lent, own)
            known, few = plan.known(self.labels), range(min(_TIMED, len(self.inputs.images)))
            maps = _seconds(lambda: compute_cams(lent, self.inputs, known, plan, few))
            with torch.no_grad():
                images = self.inputs.of(list(few)).on(lent)
                forward = _seconds(lambda: plan.call(lent, images))
            trusting = replace(plan, settings=replace(own, trust=True))
            return maps / forward, compute_cams(lent, self.inputs, known, trusting)[0].copied()()

        cost, maps = self.lender.look(looked, settings)
        view = History(maps.layer).with_look(0, maps).view(maps, None if masks is None else masks[:, None])
        numbers = {name: values[:, 0] for name, values in measure(view).items()}
        names = ("faithfulness", "class_sensitivity", "in_mask")
        faithful, sensitive, inside = (float(numbers[one].nanmean()) if one in numbers else torch.nan for one in names)
        faithful *= 1 - float(numbers["blank"].mean())  # a blank map says nothing
        row = Compared(maps.layer, settings.method_name, faithful, sensitive, inside, cost)
        return row, numbers, maps


def _seconds(work: Callable[[], object]) -> float:
    """The shorter of two: the first may be slower."""
    seconds = []
    for _ in range(2):
        start = time.perf_counter()
        work()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def _words(name: str, given: object) -> list[str] | None:
    if given is None:
        return None
    words = list(given) if isinstance(given, Sequence) and not isinstance(given, str) else []
    if not words or not all(isinstance(one, str) for one in words):
        raise SettingError(f"{name}={quoted(given)}; accepted is a list of names, or None")
    return words


def _checked_masks(masks: object, images: Tensor) -> Tensor | None:
    if masks is None:
        return None
    given = torch.as_tensor(masks).detach().cpu()
    if given.dim() == 4 and given.shape[1] == 1:
        given = given[:, 0]
    if given.dim() != 3 or len(given) != len(images):
        raise SettingError(
            f"masks has the shape {tuple(given.shape)} for {len(images)} images; accepted is (N, H, W), true on the "
            "thing"
        )
    if not given.eq(0).logical_or(given.eq(1)).all():
        raise SettingError("masks has values beside 0 and 1; accepted is (N, H, W), true on the thing, as masks > 0")
    return given.bool()
