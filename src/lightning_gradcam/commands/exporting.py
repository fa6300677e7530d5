"""`lightning-gradcam export`: what was logged, written to files."""

import argparse
import csv
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from tqdm import tqdm

from lightning_gradcam.commands.files import Write, apart, check_free, safe, write
from lightning_gradcam.commands.showing import chosen
from lightning_gradcam.errors import SettingError
from lightning_gradcam.logs.layer_log import Array
from lightning_gradcam.reading import AttentionLog, read_log

_AXES = {  # of the arrays: E looks, N images; none of those that are of all
    "steps": "E",
    "maps": "EN",
    "states": "EN",
    "scores": "EN",
    "predictions": "EN",
    "wrong": "EN",
    "answers": "EN",
    "targets": "EN",
    "pictures": "N",
    "truths": "N",
    "said": "N",
    "indices": "N",
    "areas": "N",
    "fingerprints": "N",
    **dict.fromkeys(("run", "layer", "unit", "task", "about", "class_names", "columns"), ""),
}

_TOLD = 4  # that do not have what is chosen


@dataclass(frozen=True)
class Choice:
    """Which looks and images are written; None: all.

    Attributes:
        epochs: the looks' steps.
        images: by their place; of pictures also by what they are most, "moved" or "wrong".
    """

    epochs: Sequence[int] | None
    images: Sequence[int] | str | None

    @property
    def places(self) -> list[int] | None:
        """The images, where they are chosen by place."""
        return None if self.images is None or isinstance(self.images, str) else list(self.images)

    def check(self, log: AttentionLog) -> None:
        """Refuse looks and images that one layer's log does not have.

        Raises:
            SettingError: with those that there are.
        """
        steps, count = log.steps.tolist(), log.states.shape[1]
        place = f"run {log.run!r}, layer {log.layer!r}"
        if lacking := [one for one in self.epochs or () if one not in steps]:
            near = min(steps, key=lambda step: abs(step - lacking[0]))
            raise SettingError(
                f"--epochs {lacking[0]}: {place} has no such look, the nearest is {near}; accepted are {_few(steps)}"
            )
        if lacking := [one for one in self.places or () if one >= count]:
            raise SettingError(f"--images {lacking[0]}: {place} has {count}; accepted are 0 to {count - 1}")

    def of(self, array: Array, axes: str, steps: Sequence[int]) -> Array:
        """Return the part of an array whose first axes are looks and images, as `axes` has them."""
        if "E" in axes and self.epochs is not None:
            array = array[[steps.index(one) for one in self.epochs]]
        if "N" in axes and self.places is not None and array.size:  # nothing where what images are is unknown
            array = array[:, self.places] if "E" in axes else array[self.places]
        return array


def exported(args: argparse.Namespace) -> Iterator[str]:
    """Write the files that are asked for, and say which they are."""
    kinds = _kinds(args)
    whole, choice = read_log(args.logdir), Choice(args.epochs, args.images)
    log, left_out = _having(chosen(whole, args), choice)
    jobs = _jobs(log, kinds, choice, _names(args.logdir, whole), Path(args.out))
    if args.csv:
        jobs.append((Path(args.out) / "numbers.csv", lambda file: _write_csv(log, choice, file)))
    check_free([path for path, _ in jobs], args.force)
    yield from _written(jobs, left_out)


def _kinds(args: argparse.Namespace) -> list[str]:
    """What to write a run and layer."""
    kinds = [kind for kind in _FILES if getattr(args, kind)]
    if not kinds and not args.csv:
        raise SettingError("export is not told what to write; accepted are --npz, --csv, --film, --lapse and --pdf")
    if isinstance(args.images, str) and (args.npz or args.csv):
        raise SettingError(
            f"--images {args.images} is for pictures, --film, --lapse and --pdf; with --npz and --csv accepted are "
            "places, as 0,3"
        )
    return kinds


def _having(log: AttentionLog, choice: Choice) -> tuple[AttentionLog, list[str]]:
    """Those that have what is chosen, and what is said of the others."""
    having, lacking = [], []
    for one in log:
        try:
            choice.check(one)
            having.append(one)
        except SettingError as error:
            lacking.append(error)
    if not having:
        raise lacking[0]
    told = [f"left out: {error}" for error in lacking[:_TOLD]]
    return AttentionLog(None, having), [*told, *([f"and {len(lacking) - _TOLD} more"] if len(lacking) > _TOLD else [])]


def _written(jobs: Sequence[tuple[Path, Write]], left_out: Sequence[str]) -> Iterator[str]:
    """Write each file; those that cannot be made, whatever the fault, do not stop the others, and are told then."""
    failed = list(left_out)
    with tqdm(jobs, desc="export", unit="file", disable=None, leave=False, delay=1) as bar:
        for path, job in bar:
            try:
                written = write(path, job)
            except SettingError as error:
                failed.append(f"{str(path)!r} is not written: {error}")
                continue
            except Exception as error:
                words = (isinstance(error, OSError) and error.strerror) or " ".join(str(error).split())
                failed.append(f"{str(path)!r} is not written: {type(error).__name__}: {words}")
                continue
            bar.clear()  # the line that follows is not to stand in it
            yield written
    if failed:
        raise SettingError(*failed)


def _few(steps: Sequence[int], most: int = 12) -> str:
    words = [str(step) for step in steps]
    return ", ".join(words if len(words) <= most else [*words[: most - 1], "...", words[-1]])


def _names(logdir: str, whole: AttentionLog) -> dict[tuple[str, str], str]:
    """How the files of each run and layer begin, the same whichever are chosen; "." is called as its folder is."""
    pairs = [(one.run, one.layer) for one in whole]
    own = Path(logdir).expanduser().resolve().name or "run"
    names = apart(f"{safe(own if run == '.' else run)}-{safe(layer)}" for run, layer in pairs)
    return dict(zip(pairs, names, strict=True))


def _jobs(
    log: AttentionLog, kinds: Sequence[str], choice: Choice, names: dict[tuple[str, str], str], folder: Path
) -> list[tuple[Path, Write]]:
    """Each layer's files, and what writes them."""
    return [
        (folder / (names[one.run, one.layer] + _FILES[kind][0]), partial(_FILES[kind][1], one, choice))
        for one in log
        for kind in kinds
    ]


def _write_npz(log: AttentionLog, choice: Choice, file: BinaryIO) -> None:
    steps = log.steps.tolist()
    arrays: dict[str, Any] = {name: choice.of(_array(log, name), axes, steps) for name, axes in _AXES.items()}
    names = apart([*arrays, *map(_key, log.numbers)])[len(arrays) :]
    arrays |= {name: choice.of(log.numbers[own], "EN", steps) for name, own in zip(names, log.numbers, strict=True)}
    np.savez_compressed(file, **arrays)


def _array(log: AttentionLog, name: str) -> Array:
    value = getattr(log, name)
    if name == "truths":  # as wide as the longest, behind which others are NaN
        widest = max(map(len, value), default=0)
        return np.array([[*truth, *[np.nan] * (widest - len(truth))] for truth in value])
    value = [] if value is None else value
    is_array = name in ("pictures", "indices", "areas") or (isinstance(value, np.ndarray) and value.dtype != object)
    return np.asarray(value) if is_array else np.array(value, str)  # without pickle


def _key(name: str) -> str:
    """A number's name, but where it is an argument of NumPy's, or no name of a file in an archive."""
    is_own = name.isidentifier() and name not in (*_AXES, "file", "allow_pickle")
    return name if is_own else safe(f"number_{name}")


def _write_csv(log: AttentionLog, choice: Choice, file: BinaryIO) -> None:
    """As pandas writes `to_frame()`, which need not be installed."""
    columns = log.to_columns()
    kept = np.ones(len(columns["run"]), bool)
    for name, wanted in (("step", choice.epochs), ("image", choice.places)):
        kept &= np.isin(columns[name], wanted) if wanted is not None else True
    text = io.TextIOWrapper(file, "utf-8", errors="backslashreplace", newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*(_cells(values[kept]) for values in columns.values()), strict=True))
    text.detach()


def _cells(values: Array) -> list[Any]:
    """What stands in a column: of numbers the shortest words that are read back as the same; nothing where unknown."""
    if values.dtype.kind == "f":
        with np.errstate(invalid="ignore"):  # as NumPy 1.24 warns of NaN
            return ["" if word == "nan" else word for word in values.astype(str)]
    cells: list[Any] = values.tolist()
    return ["" if cell is None or cell != cell else cell for cell in cells]


def _write_film(log: AttentionLog, choice: Choice, file: BinaryIO) -> None:
    log.filmstrip(epochs=choice.epochs, images=choice.images).save(file, "PNG")


def _write_lapse(log: AttentionLog, choice: Choice, file: BinaryIO) -> None:
    file.write(log.timelapse(epochs=choice.epochs, images=choice.images))


def _write_pdf(log: AttentionLog, choice: Choice, file: BinaryIO) -> None:
    log.figure(epochs=choice.epochs, images=choice.images).savefig(file, format="pdf")


_FILES: dict[
    str, tuple[str, Callable[[AttentionLog, Choice, BinaryIO], None]]
] = {  # what stands behind a name, and who writes it
    "npz": (".npz", _write_npz),
    "film": ("-filmstrip.png", _write_film),
    "lapse": ("-timelapse.webp", _write_lapse),
    "pdf": ("-figure.pdf", _write_pdf),
}
