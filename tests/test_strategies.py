"""Wherever Lightning runs: several processes, compiled, checkpointed, averaged."""

import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from pytorch_lightning import Callback, Trainer, seed_everything
from pytorch_lightning.loggers import TensorBoardLogger
from torch import nn
from torch.utils import checkpoint
from torch.utils.data import DataLoader

from lightning_gradcam import GradCAMCallback, explain

from .conftest import Classifier, Events, complaints, make_pairs, small_cnn

TAG = "gradcam/network.6"
FIRST_NORM = "network.encoder.layers.encoder_layer_0.ln_1"
ALONE = ("gathering alone", "waiting alone", "attention alone")  # of other modules, without the callback
ROOT = str(Path(__file__).parent.parent)

VARIANTS = {
    "plain": "[]",
    "watched": "[GradCAMCallback(images=4)]",
    "borrowed": "[GradCAMCallback(images=4, method='fem')]",
    "trusted": "[GradCAMCallback(images=3, trust=True)]",
    "rank zero fails": "[GradCAMCallback(images=4, output=partial(failing, 0))]",
    "rank one fails without words": "[GradCAMCallback(images=4, output=partial(failing, 1, error=Mute))]",
    "waiting alone": "[]",
    "waiting for loaders": "[GradCAMCallback(images=4)]",
    "rank one fails": "[GradCAMCallback(images=4, output=partial(failing, 1))]",
    "three images": "[GradCAMCallback(images=3)]",
    "one image": "[GradCAMCallback(images=1)]",
    "what cannot travel": "[GradCAMCallback(images=4)]",
    "ranks disagree": "[GradCAMCallback(images=4)]",
    "gathering": "[GradCAMCallback(images=3)]",
    "gathering alone": "[]",
    "attention": "[GradCAMCallback(images=3, method='relevance', trust=True)]",
    "attention unconfigured": "[GradCAMCallback(images=3)]",
    "attention alone": "[]",
    "monitored": "[GradCAMCallback(images=4), EarlyStopping('gradcam/network.6/focus', patience=9)]",
    "monitored and failing": "[GradCAMCallback(images=4, output=partial(failing, 1, epochs=(0, 1))), "
    "EarlyStopping('gradcam/network.6/border')]",
    "wrong": "[GradCAMCallback('network.66')]",  # the last: it ends both processes
}
SCRIPT = """
    import os
    import sys
    from functools import partial
    sys.path.insert(0, {root!r})
    import torch
    from pytorch_lightning import Trainer, seed_everything
    from pytorch_lightning.callbacks import EarlyStopping
    from pytorch_lightning.loggers import TensorBoardLogger
    from torch.utils.data import DataLoader
    from torchvision.models import VisionTransformer
    from lightning_gradcam import GradCAMCallback
    from tests.conftest import Classifier, make_pairs

    class Mute(Exception):
        def __str__(self):
            raise AttributeError("no words")

    class Waiting(Classifier):
        def val_dataloader(self):
            torch.distributed.barrier()
            return DataLoader(make_pairs(), 4)

    def failing(rank, model, images, epochs=(1,), error=RuntimeError):
        if rank == int(os.environ.get("LOCAL_RANK", 0)) and model.trainer.current_epoch in epochs:
            raise error("it fails here alone")
        return model(images)

    class Gathering(Classifier):
        def forward(self, images):
            scores = self.network(images)
            total = scores.detach().mean()
            torch.distributed.all_reduce(total)
            return scores + 0.1 * total

    def with_a_function(items):
        images, labels = torch.utils.data.default_collate(items)
        return {{"image": images, "label": labels, "undo": lambda one: one}}

    def fit(name, callbacks):
        if int(os.environ.get("LOCAL_RANK", 0)) == 0:
            os.write(2, f"\\nvariant <{{name}}>\\n".encode())  # in one piece: the other process writes there, too
        seed_everything(1)
        is_late = "waiting" in name
        late = dict(check_val_every_n_epoch=2, num_sanity_val_steps=0) if is_late else {{}}
        trainer = Trainer(max_epochs=2, accelerator="cpu", devices=2, strategy="ddp", callbacks=callbacks, **late,
                          logger=TensorBoardLogger({folder!r} + "/" + name, name="", version="run"),
                          enable_progress_bar=False, enable_checkpointing=False)
        module = Gathering() if "gathering" in name else Waiting() if is_late else Classifier()
        if "attention" in name:
            module = Classifier(VisionTransformer(16, 8, 2, 2, 16, 32, num_classes=4))
        loader = DataLoader(make_pairs(), 4, shuffle=True)
        seen = make_pairs(seed=int(os.environ.get("LOCAL_RANK", 0))) if name == "ranks disagree" else make_pairs()
        options = dict(collate_fn=with_a_function) if "travel" in name else {{}}
        trainer.fit(module, loader, None if is_late else DataLoader(seen, 4, **options))
        if trainer.is_global_zero:
            torch.save(module.state_dict(), {folder!r} + "/" + name + "/weights.pt")

    if __name__ == "__main__":
        torch.set_num_threads(1)
        for name, callbacks in {variants!r}.items():
            fit(name, eval(callbacks))
"""


class Launched(NamedTuple):
    """What two processes left: their exit status, the folder, and what was said in each variant's fit."""

    status: int
    folder: Path
    said: dict[str, str]


@pytest.fixture(scope="module")
def launched(tmp_path_factory) -> Launched:
    """All variants, one after the other in the same two processes: a launch takes longer than a fit."""
    folder = tmp_path_factory.mktemp("processes")
    script = folder / "script.py"
    script.write_text(textwrap.dedent(SCRIPT).format(root=ROOT, folder=str(folder), variants=VARIANTS))
    environment = {name: value for name, value in os.environ.items() if name not in ("LOCAL_RANK", "NODE_RANK")}
    command = [sys.executable, str(script)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment, check=False)
    _, *parts = re.split(r"variant <([^>]*)>", ran.stderr)
    return Launched(ran.returncode, folder, dict(zip(parts[::2], parts[1::2], strict=True)))


def test_on_two_processes_training_is_the_same(launched) -> None:
    """Also where looking fails on one rank alone: nobody waits."""
    weights = {
        name: torch.load(launched.folder / name / "weights.pt", weights_only=True)
        for name in VARIANTS
        if name != "wrong"
    }
    assert "self.log('gradcam" not in launched.said["watched"]  # Lightning's advice on what differs between processes
    for name, found in weights.items():
        alone = weights[next((word for word in ALONE if name[:7] == word[:7]), "plain")]
        assert all(torch.equal(value, found[key]) for key, value in alone.items()), name
    for name in ("gathering", "waiting for loaders"):
        assert Events(launched.folder / name / "run").steps(TAG) == [0, 1, 2]  # a forward that waits for all ranks
    for name, layer in {"attention": "attention", "attention unconfigured": FIRST_NORM}.items():
        assert Events(launched.folder / name / "run").steps(f"gradcam/{layer}") == [0, 1, 2]


SHARED = [("watched", 4), ("three images", 3), ("one image", 1), ("ranks disagree", 4)]


@pytest.mark.parametrize(("name", "images"), SHARED)
def test_each_process_looks_at_its_share_of_rank_zeros_images(launched, tmp_path, name, images) -> None:
    """The first grid, of the same weights, is the one that a single process draws."""
    seed_everything(1)
    logger = TensorBoardLogger(tmp_path, name="", version="run")
    watching = GradCAMCallback(images=images)
    trainer = Trainer(accelerator="cpu", devices=1, callbacks=[watching], logger=logger, max_steps=1)
    trainer.fit(Classifier(), DataLoader(make_pairs(), 4), DataLoader(make_pairs(), 4))
    events = Events(launched.folder / name / "run")
    assert events.steps(TAG) == [0, 1, 2]
    difference = events.pictures(TAG)[0].astype(int) - Events(tmp_path / "run").pictures(TAG)[0]
    assert np.abs(difference).max() <= 8  # one level of heat in 255: sums of another number of threads
    assert (difference != 0).mean() < 0.01


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("rank zero fails", "it fails here alone"),
        ("rank one fails", "it fails here alone"),
        ("rank one fails without words", "Mute"),
    ],
)
def test_a_fault_on_any_process_costs_a_picture(launched, name, words) -> None:
    """It is told, and the next look is whole."""
    assert Events(launched.folder / name / "run").steps(TAG) == [0, 1]
    assert launched.said[name].count("a picture or a number is missing (") == 1  # all know of it, and one tells
    assert words in launched.said[name]


def test_what_cannot_travel_between_processes_leaves_nobody_waiting(launched) -> None:
    """A function in a batch of images that are all that the model takes."""
    assert Events(launched.folder / "what cannot travel" / "run").steps(TAG) == [0, 1, 2]
    assert "what came with the images cannot travel between processes" in launched.said["what cannot travel"]


def test_a_wrong_setting_ends_all_processes(launched) -> None:
    """No rank is left waiting for the one that refused."""
    assert launched.status != 0
    assert "target_layer='network.66' is not a layer of the model" in launched.said["wrong"]


@pytest.mark.parametrize("strategy", ["FSDPStrategy", "ModelParallelStrategy"])
def test_sharded_strategies_are_told_by_name(strategy, make_trainer, loader) -> None:
    """One sentence that says what works."""
    trainer = make_trainer(GradCAMCallback())
    sharded = type(strategy, (type(trainer.strategy),), {})
    trainer.strategy.__class__ = sharded
    with pytest.raises(ValueError, match=rf"strategy: {strategy} splits the model.*ddp"):
        trainer.fit(Classifier(), loader, loader)


@pytest.mark.parametrize(("stage", "splits"), [(0, False), (2, False), (3, True)])
def test_deepspeed_splits_the_model_from_its_third_stage_on(stage, splits, make_trainer, loader, events) -> None:
    """Up to the second each process has the whole model, and is looked into."""
    trainer = make_trainer(GradCAMCallback(images=2), max_epochs=1)
    trainer.strategy.__class__ = type("DeepSpeedStrategy", (type(trainer.strategy),), {})
    trainer.strategy.config = {"zero_optimization": {"stage": stage}}
    if splits:
        with pytest.raises(ValueError, match=r"strategy: DeepSpeedStrategy splits the model.*up to stage 2"):
            trainer.fit(Classifier(), loader, loader)
    else:
        trainer.fit(Classifier(), loader, loader)
        assert events().steps(TAG) == [0, 1]


def test_the_third_stage_is_deepspeeds_alone(make_trainer, loader, events) -> None:
    """Another strategy may have a config of its own."""
    trainer = make_trainer(GradCAMCallback(images=2), max_epochs=1)
    trainer.strategy.config = {"zero_optimization": {"stage": 3}}
    trainer.fit(Classifier(), loader, loader)
    assert events().steps(TAG) == [0, 1]


@pytest.mark.parametrize("when", ["before", "inside"])
def test_compiled_modules(when, make_trainer, events, loader, recwarn) -> None:
    """Compiled as a whole before fit, or a part of it; names are as without."""
    module = Classifier()
    if when == "before":
        module = torch.compile(module, backend="eager")
    else:
        module.network = torch.compile(module.network, backend="eager")
    make_trainer(GradCAMCallback(images=2)).fit(module, loader, loader)
    assert complaints(recwarn) == []
    assert events().steps(TAG) == [0, 1, 2]


def test_a_module_compiled_in_mid_run(make_trainer, events, loader, recwarn) -> None:
    """In place, after the layers were found."""

    class CompileLate(Callback):
        def on_train_epoch_start(self, trainer, pl_module) -> None:
            if trainer.current_epoch == 1:
                pl_module.network.compile(backend="eager")

    make_trainer(GradCAMCallback(images=2), CompileLate(), max_epochs=3).fit(Classifier(), loader, loader)
    assert complaints(recwarn) == []
    assert events().steps(TAG) == [0, 1, 2, 3]


class Checkpointed(nn.Module):
    """Layers in front of, around and behind the target layer are recomputed in the backward pass."""

    def __init__(self, reentrant: bool) -> None:
        super().__init__()
        self.body, self.reentrant = small_cnn(), reentrant

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        features = images
        for part in (self.body[:3], self.body[3:7]):
            features = checkpoint.checkpoint(part, features, use_reentrant=self.reentrant)
        return self.body[7:](features)


@pytest.mark.parametrize("reentrant", [False, True])
def test_gradient_checkpointing(reentrant) -> None:
    """The maps are those without it."""
    torch.manual_seed(0)
    model, images = Checkpointed(reentrant), torch.rand(2, 3, 8, 8)
    expected = explain(model.body, images, "5")
    found = explain(model, images, "body.5")
    assert torch.allclose(found.raw, expected.raw, atol=1e-6)
    assert explain(model, images).layer == "body.6"


def test_channels_last() -> None:
    """The maps are those of contiguous weights."""
    torch.manual_seed(0)
    model, images = small_cnn(), torch.rand(2, 3, 8, 8)
    expected = explain(model, images)
    found = explain(model.to(memory_format=torch.channels_last), images.to(memory_format=torch.channels_last))
    assert torch.allclose(found.raw, expected.raw, atol=1e-6)
