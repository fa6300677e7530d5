"""Published findings about where networks look, tried here on three seeds each; prints a table in Markdown.

    python examples/findings.py focus | agreement | decoys [--seeds N] [--folder FOLDER] [options of `train.py fit`]

Cells have a number a seed, divided by slashes. What differs from a finding's config stands in `FINDINGS`.
"""

import argparse
import logging
import os
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from itertools import count
from multiprocessing import get_context
from pathlib import Path
from statistics import fmean

import torch
from scipy.stats import spearmanr
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tqdm import tqdm

from train import fit

CONFIGS = Path(__file__).parents[1] / "configs"
LAYER = "gradcam/network.features"
BORDER = 0.35  # heat that is everywhere alike has 0.36 there


@dataclass(frozen=True)
class Run:
    """One training's numbers: epoch by epoch, those of maps from before training on."""

    variant: tuple[str, ...]
    seed: int
    numbers: dict[str, list[float]]

    def maps(self, name: str) -> list[float]:
        """A number of the maps, at each look."""
        return self.numbers[f"{LAYER}/{name}"]

    def last(self, name: str) -> float:
        """The last epoch's."""
        return self.numbers[name][-1]


Cell = Callable[[list[Run]], str]  # of a variant's runs, one a seed


@dataclass(frozen=True)
class Finding:
    """A finding: what is trained, each variant on each seed, and what of it is told.

    Attributes:
        names: of what a variant's words are, for the table's head.
        variants: its words, and the options that make it of the config.
        columns: the head of each further column, and what stands there.
        footer: what all runs say together.
    """

    names: tuple[str, ...]
    variants: dict[tuple[str, ...], list[str]]
    columns: dict[str, Cell]
    footer: Callable[[list[Run]], str] = lambda runs: ""


def _each(said: Callable[[Run], str]) -> Cell:
    return lambda runs: " / ".join(map(said, runs))


def _last(name: str, digits: int = 2) -> Cell:
    return _each(lambda run: f"{run.last(name):.{digits}f}")


def _along(name: str, digits: int = 2) -> Cell:
    """Before training, after the first look in it, and at the end."""
    return _each(lambda run: " → ".join(f"{run.maps(name)[place]:.{digits}f}" for place in (0, 1, -1)))


def _mean_by_epoch(name: str) -> Cell:
    return lambda runs: " ".join(
        f"{fmean(values):.2f}" for values in zip(*(run.maps(name) for run in runs), strict=True)
    )


def _first_above(name: str, bound: float) -> Cell:
    """The first look after training began at which a number is above a bound."""

    def first(run: Run) -> str:
        return next((str(look) for look, value in enumerate(run.maps(name)) if look and value > bound), "never")

    return _each(first)


def _predicts(runs: list[Run]) -> str:
    """How well what is known after two epochs tells what becomes of accuracy without the mark."""
    known = {
        "in_mask": [run.maps("in_mask")[2] for run in runs],
        "border": [run.maps("border")[2] for run in runs],
        "validation accuracy with the mark": [run.numbers["val/accuracy"][1] for run in runs],
    }
    final = [run.last("clean/accuracy") for run in runs]
    told = ", ".join(f"{name} {spearmanr(values, final).statistic:+.2f}" for name, values in known.items())
    return f"Rank correlation with the last accuracy without the mark, of {len(runs)} runs after two epochs: {told}.\n"


FINDINGS = {
    "focus": Finding(
        ("labels",),
        {("true",): ["--data.shuffled=false"], ("shuffled",): ["--data.shuffled=true"]},
        {
            "accuracy in training": _last("train/accuracy"),
            "in validation": _last("val/accuracy"),
            "peak": _along("peak", digits=4),
            "focus": _along("focus"),
            "in_mask": _along("in_mask"),
            "faithfulness": _along("faithfulness"),
        },
    ),
    "agreement": Finding(
        ("mark", "agrees"),
        {
            (mark, share): [f"--data.hard={hard}", f"--data.agreement={share}"]
            for mark, hard in (("easy", "false"), ("hard", "true"))
            for share in ("0.5", "0.8", "0.95", "1.0")
        },
        {
            "accuracy with the mark": _last("val/accuracy"),
            f"border above {BORDER} at": _first_above("border", BORDER),
            "in_mask after 2": _each(lambda run: f"{run.maps('in_mask')[2]:.2f}"),
            "accuracy without it": _last("clean/accuracy"),
        },
        _predicts,
    ),
    "decoys": Finding(
        ("trained with",),
        {
            ("decoys",): ["--model=models.SmallCNN"],
            ("decoys, and the penalty",): [],
            ("shades that mean nothing",): ["--model=models.SmallCNN", "--data.decoys=false"],
        },
        {
            "accuracy": _last("val/accuracy", digits=3),
            "in_mask, mean, epoch by epoch": _mean_by_epoch("in_mask"),
            "border at last": _last(f"{LAYER}/border"),
            "faithfulness at last": _last(f"{LAYER}/faithfulness"),
        },
    ),
}


def train_one(name: str, variant: tuple[str, ...], seed: int, options: list[str], folder: str) -> Run:
    """Fit one variant on one seed, and read back what it logged."""
    warnings.simplefilter("ignore")
    logging.disable(logging.INFO)
    torch.set_num_threads(1)
    logger = f"--trainer.logger.init_args.save_dir={folder}", f"--trainer.logger.init_args.name={name}"
    version = "--trainer.logger.init_args.version=" + "-".join((*variant, f"seed {seed}")).replace(" ", "_")
    quiet = "--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false"
    seeds = f"--seed_everything={seed}", f"--data.seed={10 * seed}"
    cli = fit(["fit", f"--config={CONFIGS / name}.yaml", *options, *logger, version, *quiet, *seeds])
    events = EventAccumulator(cli.trainer.logger.log_dir, size_guidance={"scalars": 0})
    events.Reload()
    return Run(variant, seed, {tag: [one.value for one in events.Scalars(tag)] for tag in events.Tags()["scalars"]})


def runs_of(name: str, seeds: int, folder: str, options: list[str]) -> Iterator[Run]:
    """Train all variants on all seeds, as many at a time as there are cores."""
    jobs = [(variant, seed) for variant in FINDINGS[name].variants for seed in range(seeds)]
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
        started = [
            pool.submit(train_one, name, variant, seed, [*FINDINGS[name].variants[variant], *options], folder)
            for variant, seed in jobs
        ]
        for job in tqdm(as_completed(started), total=len(started), desc=name):
            yield job.result()


def table(finding: Finding, runs: list[Run]) -> str:
    """A row a variant, with a number a seed."""
    rows = [
        [*variant, *(cell(_of_variant(runs, variant)) for cell in finding.columns.values())]
        for variant in finding.variants
    ]
    head = [*finding.names, *finding.columns]
    return "\n".join(f"| {' | '.join(line)} |" for line in [head, ["---"] * len(head), *rows])


def _of_variant(runs: list[Run], variant: tuple[str, ...]) -> list[Run]:
    return sorted((run for run in runs if run.variant == variant), key=lambda run: run.seed)


def _new(folder: Path) -> Path:
    """A folder that no earlier try has written to."""
    return next(one for n in count(1) if not (one := folder / f"findings_{n}").exists())


def main() -> None:
    """Try a finding, and print its table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("finding", choices=list(FINDINGS))
    parser.add_argument("--seeds", type=int, default=3, help="how many")
    parser.add_argument("--folder", default="runs", help="where the event files go")
    known, options = parser.parse_known_args()
    folder = _new(Path(known.folder))
    runs = list(runs_of(known.finding, known.seeds, str(folder), options))
    finding = FINDINGS[known.finding]
    print(table(finding, runs), finding.footer(runs), sep="\n\n")
    print(f"See where they looked:\n  tensorboard --logdir {folder}/{known.finding}")


if __name__ == "__main__":
    main()
