"""A study: a network that cheats and its control, three seeds each, on 256 images; a table, and pages for print.

python examples/study.py [FOLDER] [options of `train.py fit`]
"""

import sys
from pathlib import Path

from scipy.stats import t

from lightning_gradcam import read_log
from train import fit

CONFIG = Path(__file__).parents[1] / "configs" / "shortcut.yaml"
NUMBERS = ["border", "in_mask", "focus", "drift"]


def main(folder: str = "runs/study", *options: str) -> None:
    """Train, say how the two differ after the last epoch, with 95 % intervals over the seeds, and save the pages."""
    for kind, cheat in (("cheat", "true"), ("control", "false")):
        for seed in range(3):
            run = [f"--trainer.logger.save_dir={folder}", f"--trainer.logger.name={kind}"]
            run += [f"--trainer.logger.version=seed {seed}", f"--seed_everything={seed}", f"--data.cheat={cheat}"]
            fit(["fit", f"--config={CONFIG}", "--trainer.callbacks.images=256", *run, *options])
    log = read_log(folder)
    frame = log.to_frame()
    last = frame[frame["step"] == frame["step"].max()].groupby("run")[NUMBERS].mean()
    print(f"| | {' | '.join(NUMBERS)} |\n|{'---|' * (1 + len(NUMBERS))}")
    for kind, runs in last.groupby(last.index.str.split("/").str[0]):
        half = runs.sem() * t.ppf(0.975, len(runs) - 1)
        print(f"| {kind} | {' | '.join(f'{runs[one].mean():.2f} ± {half[one]:.2f}' for one in NUMBERS)} |")
        log.of(run=f"{kind}/seed 0").figure(images="moved").savefig(Path(folder, f"{kind}.pdf"))
    log.curve("border").savefig(Path(folder, "border.pdf"))


if __name__ == "__main__":
    main(*sys.argv[1:])
