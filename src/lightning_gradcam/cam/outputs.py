"""Where in a model's output its scores are, and what made them."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from lightning_gradcam.cam import trees
from lightning_gradcam.cam.trees import Path
from lightning_gradcam.errors import SettingError

NAMES = ("logits", "out", "pred", "preds", "prediction", "predictions", "scores", "output", "y_hat")

_LIKE = ("logit", "score", "pred")

# what brings scores into another shape, size or precision, or leaves probabilities between 0 and 1: seen through
_KEEPING = (
    *("View", "Reshape", "Squeeze", "Unsqueeze", "Slice", "Select", "Transpose", "Permute", "ToCopy", "Clone", "Index"),
    *("Clamp", "Mean", "Stack", "Cat", "Add", "Mul", "Div", "Upsample", "Expand"),
)
_DEEP = 10_000  # steps of a graph
_FEW = 12  # of what may stand between probabilities and their maker


def at(output: Any, place: Path) -> Tensor:
    """Return the scores at a place in an output.

    Raises:
        RuntimeError: an output of another kind than the one whose place it is.
    """
    try:
        found = trees.at(output, place)
    except LookupError as error:
        raise RuntimeError(f"the model's output has no {trees.dotted(place)} any more") from error
    if not isinstance(found, Tensor):
        raise RuntimeError(f"the model returned a {type(found).__name__} where its scores were")
    return found


def candidates(output: Any, place: Path = ()) -> list[tuple[Path, Tensor]]:
    """Return what may be scores: a tensor, a dict's entry or an object's attribute of a usual name, a tuple's items.

    Raises:
        SettingError: nothing like scores in it.
    """
    found = list(_tensors(output, place))
    if found:
        return found
    held = f"a dict with the keys {list(output)}" if _is_mapping(output) else f"a {type(output).__name__}"
    if isinstance(output, (list, tuple)) and output:
        held += f" of {len(output)}, the first {_described(output[0])}"
    raise SettingError(
        f"output=None found no scores in what the model returned, {held}; accepted are a tensor, a tuple with one, a "
        f"dict with one of {', '.join(NAMES)}, or an object with .logits; for all else pass "
        "output=callable(model, images) -> scores, (N, ...)" + _line_for(output)
    )


def _tensors(output: Any, place: Path) -> Iterator[tuple[Path, Tensor]]:
    if isinstance(output, Tensor):
        if output.dim() or not place:
            yield place, output
    elif _is_mapping(output):
        for name in _names_in(output, is_outermost=not place):
            yield from _tensors(output[name], (*place, name))
    elif (name := next((name for name in NAMES if isinstance(getattr(output, name, None), Tensor)), None)) is not None:
        yield (*place, name), getattr(output, name)  # a dataclass, a named tuple
    elif isinstance(output, (tuple, list)):
        is_a_dict_an_image = isinstance(output, list) and any(map(_is_mapping, output))  # detectors'
        for number, item in enumerate(output if not is_a_dict_an_image else ()):
            yield from _tensors(item, (*place, number))


def _names_in(output: Mapping[Any, Any], is_outermost: bool) -> list[Any]:
    """The entry of a usual name, else those whose names are like one, else all there is of tensors."""
    if usual := [name for name in NAMES if name in output]:
        return usual[:1]
    tensors = [name for name, one in output.items() if isinstance(one, Tensor) and one.dim()]
    like = [name for name in tensors if any(word in str(name).lower() for word in _LIKE)]
    return (like or tensors) if is_outermost and tensors else list(output)[: len(output) == 1 and is_outermost]


def _is_mapping(output: object) -> bool:
    return isinstance(output, Mapping)


def _described(one: Any) -> str:
    return f"a dict with the keys {list(one)}" if _is_mapping(one) else f"a {type(one).__name__}"


def _line_for(output: Any) -> str:
    """The line to paste for a detector's output, or for a dict of tensors."""
    if isinstance(output, Mapping):
        named = [name for name, one in output.items() if isinstance(one, Tensor) and one.dim()]
        return f", as output=lambda model, images: model(images)[{named[0]!r}]" if named else ""
    first = output[0] if isinstance(output, (list, tuple)) and output else None
    if not (isinstance(first, Mapping) and "scores" in first):
        return ""
    return (
        ": of a detector output=lambda model, images: torch.stack([one['scores'].sum() for one in model(images)]), and "
        "task='regression'"
    )


def name_of_place(place: Path) -> str:
    """Say a place as code has it: `[1]`, `['out'][0]`."""
    return "".join(f"[{step!r}]" for step in place)


def maker_of(scores: Tensor) -> str:
    """Return whether a sigmoid or a softmax made scores: "Sigmoid", "Softmax", or "" of all else and where unknown.

    What only shapes them is seen through, and what leaves probabilities such, as a clamp or the mean of several.
    """
    return _maker(scores.grad_fn, _FEW)


def _maker(node: Any, steps: int) -> str:
    name = "" if node is None else type(node).__name__
    if made := next((one for one in ("Sigmoid", "Softmax") if name.startswith(one)), ""):
        return made
    if not steps or not name.startswith(_KEEPING):
        return ""
    makers = {_maker(inner, steps - 1) for inner, _ in node.next_functions if inner is not None}
    return makers.pop() if len(makers) == 1 else ""


def reaches(later: Tensor, earlier: Tensor) -> bool:
    """Whether a tensor was computed from another one, as far as autograd recorded it."""
    goal, stack = earlier.grad_fn, [later.grad_fn]
    seen: set[Any] = set()
    while stack and len(seen) < _DEEP:
        node = stack.pop()
        if node is None or node in seen or goal is None:
            continue
        seen.add(node)
        stack += [inner for inner, _ in node.next_functions]
    return goal is not None and goal in seen and later.grad_fn is not goal


def check_differentiable(scores: Tensor) -> None:
    """Refuse scores that cannot have a gradient.

    Raises:
        SettingError: with what to change.
    """
    if not scores.is_floating_point():
        raise SettingError(
            f"the model returned {str(scores.dtype).removeprefix('torch.')} numbers, as an argmax gives them, which "
            "have no gradient; pass output=callable(model, images) -> the scores that they were made from"
        )
    if scores.is_inference():
        raise SettingError(
            "the model's forward runs under torch.inference_mode, where nothing can be differentiated; use "
            "torch.no_grad there, or pass output=callable(model, images) -> scores"
        )


def per_image(scores: Tensor, images: Tensor, alone: Callable[[], Tensor]) -> str:
    """Tell how the rows of scores belong to images.

    Args:
        scores: (..., K), of all the images.
        images: (n, C, H, W), as the model got them.
        alone: makes the scores of the first image alone.

    Returns:
        "" where each image has a row; of an ensemble of m "members first" for (m·n, K), "images first" for (n·m, K),
        and "stacked" for (m, n, K).

    Raises:
        SettingError: none of these.
    """
    count = len(images)
    if not scores.dim():
        raise SettingError(f"output= gave a single number for {count} images; accepted are scores, (N, ...)")
    if scores.dim() == 3 and scores.shape[1] == count > 1 and _owners(scores[0, 1], images) == [1]:
        return "stacked"
    if len(scores) == count:
        return ""
    first = alone()
    if scores.dim() > 1 and scores.dim() == first.dim() and len(scores) == count * len(first):
        if len(owners := _owners(scores[1], images)) == 1:
            return "members first" if owners == [1] else "images first"
        for order, rows in (("members first", scores[::count]), ("images first", scores[: len(first)])):
            if torch.allclose(rows.float(), first.float(), rtol=1e-2, atol=1e-3):
                return order
    raise SettingError(
        f"output={tuple(scores.shape)} for {count} images: the scores have no row an image, and are no ensemble's, "
        "whose scores of an image are the same each time; pass output=callable(model, images) -> scores, (N, ...)"
    )


def _owners(row: Tensor, images: Tensor) -> list[int]:
    """Of which images a row of scores is, told by where a gradient of NaN arrives: also from heads of zeros."""
    if not (images.requires_grad and row.requires_grad):
        return []
    nan = torch.full_like(row, torch.nan)
    (found,) = torch.autograd.grad(row, images, nan, retain_graph=True, allow_unused=True)
    return [] if found is None else found.flatten(1).isnan().any(1).nonzero()[:, 0].tolist()


def one_an_image(scores: Tensor, images: int, order: str, axes: int) -> Tensor:
    """Return an image's scores each, (N, ...): an ensemble's mean, and of one place, (N, K, 1, 1), that place's.

    Args:
        scores: as the model gave them.
        images: N.
        order: as `per_image` has it.
        axes: how many scores of several images have: a head that squeezes leaves one image one less.
    """
    scores = scores[None] if images == 1 and scores.dim() == axes - 1 else scores
    scores = scores.flatten(1) if scores.dim() == 4 and scores.shape[2:].numel() == 1 else scores
    if order in ("", "stacked"):
        return scores.mean(0) if order else scores
    first = order == "members first"
    return scores.reshape(*((-1, images) if first else (images, -1)), *scores.shape[1:]).mean(0 if first else 1)
