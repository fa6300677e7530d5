"""Names that others keep to themselves and that are used here, each in one place: if one moves, this says so first."""

from pathlib import Path

import pytest
import torch.utils.checkpoint
from pytorch_lightning import LightningModule
from pytorch_lightning.callbacks import EarlyStopping, ModelCheckpoint
from torch.utils.tensorboard import SummaryWriter

SOURCES = Path(__file__).parents[1] / "src" / "lightning_gradcam"

NAMES = {
    "_should_save_on_train_epoch_end": (ModelCheckpoint, "training/session.py"),
    "_check_on_train_epoch_end": (EarlyStopping("any"), "training/session.py"),
    "_on_before_batch_transfer": (LightningModule, "training/session.py"),
    "_get_file_writer": (SummaryWriter, "logs/sinks.py"),
    "_checkpoint_without_reentrant_generator": (torch.utils.checkpoint, "cam/lend.py"),
    "CheckpointFunction": (torch.utils.checkpoint, "cam/lend.py"),
}


@pytest.mark.parametrize("name", NAMES)
def test_a_private_name_is_where_it_was_and_is_used_in_one_place(name) -> None:
    """In what is installed, and in the package."""
    owner, place = NAMES[name]
    assert hasattr(owner, name)
    using = [path for path in SOURCES.rglob("*.py") if name in path.read_text()]
    assert [str(path.relative_to(SOURCES)) for path in using] == [place]
    assert using[0].read_text().count(name) == 1
