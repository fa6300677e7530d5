"""Where in a model's output its scores are, and what made them."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from lightning_gradcam.cam import trees
from lightning_gradcam.cam.trees import Path
from lightning_gradcam.errors import SettingError

NAMES = ("logits", "out", "pred", "preds", "prediction", "predictions", "scores", "output", "y_hat")

# what only brings scores into another shape or precision: seen through to find what made them
_SHAPING = ("View", "Reshape", "Squeeze", "Unsqueeze", "Slice", "Select", "Transpose", "Permute", "ToCopy", "Clone")
_DEEP = 10_000  # steps of a graph


def at(output: Any, place: Path) -> Tensor:
    """Return the scores at a place in an output.

    Raises:
        RuntimeError: an output of another kind than the one whose place it is.
    """
    try:
        found = trees.at(output, place)
    except LookupError as error:
        raise RuntimeError(f"the model's output has no {'.'.join(map(str, place))} any more") from error
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
        "output=callable(model, images) -> scores, (N, ...)" + _detectors_line(output)
    )


def _tensors(output: Any, place: Path) -> Iterator[tuple[Path, Tensor]]:
    if isinstance(output, Tensor):
        if output.dim() or not place:
            yield place, output
    elif _is_mapping(output):
        names = [name for name in NAMES if name in output][:1] or list(output)[: len(output) == 1 and not place]
        for name in names:
            yield from _tensors(output[name], (*place, name))
    elif (name := next((name for name in NAMES if isinstance(getattr(output, name, None), Tensor)), None)) is not None:
        yield (*place, name), getattr(output, name)  # a dataclass, a named tuple
    elif isinstance(output, (tuple, list)):
        is_a_dict_an_image = isinstance(output, list) and any(map(_is_mapping, output))  # detectors'
        for number, item in enumerate(output if not is_a_dict_an_image else ()):
            yield from _tensors(item, (*place, number))


def _is_mapping(output: object) -> bool:
    return isinstance(output, Mapping)


def _described(one: Any) -> str:
    return f"a dict with the keys {list(one)}" if _is_mapping(one) else f"a {type(one).__name__}"


def _detectors_line(output: Any) -> str:
    first = output[0] if isinstance(output, (list, tuple)) and output else None
    if not (isinstance(first, Mapping) and "scores" in first):
        return ""
    return ": of a detector output=lambda model, images: torch.stack([one['scores'].sum() for one in model(images)])"


def name_of_place(place: Path) -> str:
    """Say a place as code has it: `[1]`, `['out'][0]`."""
    return "".join(f"[{step!r}]" for step in place)


def maker_of(scores: Tensor) -> str:
    """Return the operation that made scores, as autograd names it, through what only shapes them; "" if unknown."""
    node = scores.grad_fn
    for _ in range(_DEEP):
        name = type(node).__name__
        if node is None or not name.startswith(_SHAPING):
            return "" if node is None else name
        node = node.next_functions[0][0] if node.next_functions else None
    return ""


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


def per_image(scores: Tensor, images: int, alone: Tensor | None) -> str:
    """Tell how the rows of scores belong to images, from the same model's scores of the first image alone.

    Returns:
        "" where each image has a row; "members first" for (m·N, ...), "images first" for (N·m, ...).

    Raises:
        SettingError: neither.
    """
    if len(scores) == images:
        return ""
    if alone is not None and len(scores) == images * len(alone):
        members = len(alone)
        for order, rows in (("members first", scores[::images]), ("images first", scores[:members])):
            if torch.allclose(rows.float(), alone.float(), rtol=1e-2, atol=1e-3):
                return order
    raise SettingError(
        f"output={tuple(scores.shape)} for {images} images: the scores have no row an image; pass "
        "output=callable(model, images) -> scores, (N, ...)"
    )


def one_an_image(scores: Tensor, images: int, order: str) -> Tensor:
    """Return an image's scores each, (N, ...): an ensemble's mean, and of one place, (N, K, 1, 1), that place's."""
    scores = scores.reshape(1) if scores.dim() == 0 else scores  # of one image, where a head squeezes
    scores = scores.flatten(1) if scores.dim() == 4 and scores.shape[2:].numel() == 1 else scores
    if not order:
        return scores
    first = order == "members first"
    return scores.reshape(*((-1, images) if first else (images, -1)), *scores.shape[1:]).mean(0 if first else 1)
