"""Names that others keep to themselves and that are used here, each in one place: if one moves, this says so first."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch.utils.checkpoint
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import EarlyStopping, ModelCheckpoint
from torch import nn
from torch.utils.tensorboard import SummaryWriter

SOURCES = Path(__file__).parents[1] / "src" / "lightning_gradcam"


def grad_cams(name: str) -> object:
    """One of grad-cam's methods, on a model."""
    import pytorch_grad_cam

    model = nn.Sequential(nn.Conv2d(1, 1, 1))
    return getattr(pytorch_grad_cam, name)(model, [model[0]])


def wrapped_by_fsdp() -> object:
    """What holds a module under FSDP's name for it; a real one needs a process group."""
    from torch.distributed.fsdp._common_utils import FSDP_WRAPPED_MODULE

    return SimpleNamespace(**{FSDP_WRAPPED_MODULE: nn.Identity()})


def wrapped_for_checkpointing() -> object:
    """A module in torch's wrapper for activation checkpointing."""
    from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper

    return checkpoint_wrapper(nn.Identity())


NAMES = {  # by how to get the owner: who compiles has Dynamo loaded from then on
    "_should_save_on_train_epoch_end": (lambda: ModelCheckpoint, "training/monitors.py"),
    "_every_n_train_steps": (lambda: ModelCheckpoint(), "training/monitors.py"),
    "_check_on_train_epoch_end": (lambda: EarlyStopping("any"), "training/monitors.py"),
    "_on_before_batch_transfer": (lambda: LightningModule, "training/session.py"),
    "_get_file_writer": (lambda: SummaryWriter, "logs/events.py"),
    "_checkpoint_without_reentrant_generator": (lambda: torch.utils.checkpoint, "cam/lend.py"),
    "CheckpointFunction": (lambda: torch.utils.checkpoint, "cam/lend.py"),
    "_dynamo": (lambda: torch, "cam/lend.py"),
    "_orig_mod": (lambda: torch.compile(nn.Identity()), "cam/layers.py"),
    "_fsdp_wrapped_module": (wrapped_by_fsdp, "cam/layers.py"),
    "_checkpoint_wrapped_module": (wrapped_for_checkpointing, "cam/layers.py"),
    "_torchdynamo_orig_callable": (lambda: torch.compile(lambda: None), "cam/twin.py"),
    "_data_source": (lambda: Trainer(logger=False).fit_loop.epoch_loop.val_loop, "training/session.py"),
    "activations_and_grads": (lambda: grad_cams("GradCAM"), "cam/borrowed.py"),
    "base_cam_per_layer": (lambda: grad_cams("RefineCAM"), "cam/borrowed.py"),
    '"base_cam"': (lambda: grad_cams("FinerCAM"), "cam/borrowed.py"),  # in quotes: a module of grad-cam's has the name
}


@pytest.mark.parametrize("name", NAMES)
def test_a_private_name_is_where_it_was_and_is_used_in_one_place(name) -> None:
    """In what is installed, and in the package."""
    owner, place = NAMES[name]
    assert hasattr(owner(), name.strip('"'))
    using = [path for path in SOURCES.rglob("*.py") if name in path.read_text()]
    assert [str(path.relative_to(SOURCES)) for path in using] == [place]
    assert using[0].read_text().count(name) == 1
