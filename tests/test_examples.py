"""The examples' own command lines, made smaller."""

import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from lightning_gradcam import read_log

from .conftest import Events

ROOT = Path(__file__).parent.parent


@pytest.fixture
def train(monkeypatch, capsys) -> Callable[..., str]:
    """Run the script as its command line does, in this process: another would import all anew."""

    def run(folder: Path, config: str, *options: str) -> str:
        command = ["examples/train.py", "fit", "--config", f"configs/{config}.yaml", "--trainer.accelerator=cpu"]
        command += [f"--trainer.logger.init_args.save_dir={folder}", "--trainer.enable_progress_bar=false", *options]
        monkeypatch.chdir(ROOT)
        monkeypatch.setattr("sys.argv", command)
        monkeypatch.setattr("sys.path", [str(ROOT / "examples"), *sys.path])
        runpy.run_path("examples/train.py", run_name="__main__")
        return capsys.readouterr().out

    return run


@pytest.mark.parametrize(
    ("config", "layer"),
    [("digits", "network.features"), ("vit", "network.encoder.layers.encoder_layer_0.ln_1")],
)
def test_the_digits_examples_log_grids(train, tmp_path, config, layer) -> None:
    """And end by printing the command that shows them."""
    printed = train(tmp_path, config, "--trainer.max_epochs=1", "--trainer.limit_train_batches=3")
    assert f"tensorboard --logdir {tmp_path} --samples_per_plugin images=1000" in printed
    events = Events(tmp_path / config / "version_0")
    assert events.steps(f"gradcam/{layer}") == [0, 1]


def test_the_image_folder_example_runs_on_folders_of_images(train, tmp_path) -> None:
    """Classes are sorted by folder: the probe has both."""
    generator = np.random.default_rng(0)
    for part in ("train", "val"):
        for name, hue in (("dark", 40), ("light", 200)):
            (tmp_path / "data" / part / name).mkdir(parents=True)
            for number in range(6):
                pixels = generator.normal(hue, 30, (80, 100, 3)).clip(0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(tmp_path / "data" / part / name / f"{number}.png")
    options = ["--model.weights=null", f"--data.root={tmp_path / 'data'}", "--data.size=64", "--trainer.max_epochs=1"]
    train(tmp_path, "imagefolder", *options)
    assert Events(tmp_path / "imagefolder" / "version_0").steps("gradcam/network.layer4") == [0, 1]


def test_a_finding_is_tried_and_its_table_is_of_what_was_logged(tmp_path) -> None:
    """A row a variant, a number a seed, as the event files have them."""
    short = ["--trainer.max_epochs=1", "--trainer.check_val_every_n_epoch=1", "--trainer.limit_train_batches=2"]
    looks = ["--trainer.callbacks.images=4", "--trainer.callbacks.every_n_epochs=1"]
    command = [sys.executable, "examples/findings.py", "focus", "--seeds=1", f"--folder={tmp_path}", *short, *looks]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    head, _, *rows = (line.strip("| ").split(" | ") for line in ran.stdout.splitlines() if line.startswith("|"))
    assert [row[0] for row in rows] == ["true", "shuffled"]
    for row in rows:
        events = EventAccumulator(str(tmp_path / "findings_1" / "focus" / f"{row[0]}-seed_0"))
        events.Reload()
        found = [one.value for one in events.Scalars("gradcam/network.features/focus")]
        assert row[head.index("focus")] == " → ".join(f"{found[place]:.2f}" for place in (0, 1, 1))
        assert float(row[head.index("in validation")]) == pytest.approx(
            events.Scalars("val/accuracy")[-1].value, abs=0.01
        )


def test_the_numbers_tell_the_cheat_from_its_control(train, tmp_path) -> None:
    """The README's bound of 0.35 on `border`, after two epochs; accuracy in training says nothing."""
    found = {}
    for name, cheats in (("cheat", "true"), ("control", "false")):
        options = ["--trainer.max_epochs=2", f"--data.cheat={cheats}", f"--trainer.logger.init_args.name={name}"]
        train(tmp_path, "shortcut", *options)
        events = EventAccumulator(str(tmp_path / name / "version_0"))
        events.Reload()
        found[name] = {tag: events.Scalars(tag)[-1].value for tag in events.Tags()["scalars"]}
    border, accuracy = "gradcam/network.features/border", "train/accuracy"
    assert found["cheat"][border] > 0.35 > found["control"][border]
    assert found["cheat"]["gradcam/network.features/in_mask"] < found["control"]["gradcam/network.features/in_mask"]
    assert found["cheat"][accuracy] > 0.9
    assert found["cheat"]["val/accuracy"] < 0.6


def test_the_study_ends_with_a_table_of_what_was_logged_and_pages(tmp_path) -> None:
    """Means over three seeds each, of the last epoch, as the logs have them."""
    pytest.importorskip("pandas")
    short = ["--trainer.max_epochs=1", "--trainer.limit_train_batches=1", "--trainer.callbacks.images=4"]
    quiet = ["--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false"]
    command = [sys.executable, "examples/study.py", str(tmp_path), *short, *quiet]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    head, _, *rows = (line.strip("| ").split(" | ") for line in ran.stdout.splitlines() if line.startswith("|"))
    log = read_log(tmp_path)
    assert log.runs == tuple(f"{kind}/seed {seed}" for kind in ("cheat", "control") for seed in range(3))
    for kind, cells in ((row[0], row[1:]) for row in rows):
        for name, cell in zip(head, cells, strict=True):
            means = [log.of(run=f"{kind}/seed {seed}").mean(name)[-1] for seed in range(3)]
            assert cell.split(" ± ")[0] == f"{np.mean(means):.2f}"
    for page in ("cheat", "control", "border"):
        assert (tmp_path / f"{page}.pdf").read_bytes().startswith(b"%PDF")
