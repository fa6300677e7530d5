"""Generated wrong settings: none reaches the training loop."""

import math
from pathlib import Path
from string import digits
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pytorch_lightning import Trainer
from pytorch_lightning.loggers import TensorBoardLogger
from torch import nn
from torch.utils.data import DataLoader

from lightning_gradcam import GradCAMCallback
from lightning_gradcam.cam.layers import named_layers
from lightning_gradcam.cam.methods import METHODS

from ..conftest import CLASSES, Classifier, make_pairs

words = st.text(min_size=1, max_size=12)
numbers = st.one_of(st.floats(), st.complex_numbers(), st.booleans(), st.none().map(lambda _: object()))
LAYERS = set(named_layers(Classifier()))
FLAT = ["network.7", "network.8", "network.9"]
COUNT = len(make_pairs())

WRONG: dict[str, st.SearchStrategy[Any]] = {
    "target_layer": st.one_of(
        words.filter(lambda name: name not in LAYERS),
        st.sampled_from(FLAT),
        st.just([]),
        st.just(""),
        st.lists(words.filter(lambda name: name not in LAYERS), min_size=1, max_size=3),
        numbers,
        st.builds(nn.Conv2d, st.integers(1, 3), st.just(1), st.just(1)),
    ),
    "images": st.one_of(
        st.integers(max_value=0),
        st.lists(st.integers(COUNT, 10**6), min_size=1, max_size=3),
        st.lists(st.integers(-50, -1), min_size=1, max_size=3),
        st.just([]),
        words,
        numbers,
        st.lists(st.integers(1, 4), min_size=0, max_size=3).map(lambda shape: torch.zeros(shape)),
        st.integers(2, 5).map(lambda n: (torch.zeros(n, 3, 16, 16), torch.zeros(n - 1))),
    ),
    "target": st.one_of(
        st.integers(CLASSES, 10**6),
        st.integers(max_value=-1),
        words.filter(lambda word: word not in ("label", "predicted")),
        st.lists(st.integers(CLASSES, 99), min_size=1, max_size=3),
        st.just([]),
        numbers,
        st.integers(1, 7).map(lambda n: [nn.Identity()] * n),  # eight images
    ),
    "method": st.one_of(words.filter(lambda word: word not in METHODS), numbers, st.sampled_from([int, nn.Module])),
    "every_n_epochs": st.one_of(st.integers(max_value=0), words, numbers),
    "batch_size": st.one_of(st.integers(max_value=0), words, numbers),
    "scale": st.one_of(words.filter(lambda word: word not in ("image", "run")), numbers),
    "class_names": st.one_of(
        st.lists(words, max_size=9).filter(lambda names: len(names) != CLASSES),
        st.lists(st.integers(), min_size=1),
        words,
        numbers,
    ),
    "mean": st.one_of(st.floats(-1, 1), words, st.lists(st.floats(-1, 1), min_size=2, max_size=2)),  # without std
    "std": st.one_of(
        st.floats(max_value=0),
        st.just(math.nan),
        st.lists(st.floats(0.1, 1), min_size=1, max_size=5).filter(lambda values: len(values) not in (1, 3)),
        words,
    ).map(lambda std: {"mean": 0.5, "std": std}),
    "output": st.one_of(words.filter(lambda word: not hasattr(nn.Module, word)), numbers),
    "reshape_transform": st.one_of(words, numbers, st.just(torch.Tensor.flatten)),
    "aug_smooth": st.one_of(words, st.integers(), st.floats()),
    "eigen_smooth": st.one_of(words, st.integers(), st.floats()),
    "image_key": st.one_of(
        words.filter(lambda word: word[0] not in digits), st.integers(2, 99), st.floats(), st.booleans()
    ),
    "label_key": st.one_of(
        words.filter(lambda word: word[0] not in digits), st.integers(2, 99), st.floats(), st.booleans()
    ),
    "mask_key": st.one_of(words, st.integers(2, 99), st.floats(), st.booleans()),
}


@pytest.mark.parametrize("argument", WRONG)
def test_generated_wrong_settings_are_refused_by_name(argument, tmp_path_factory) -> None:
    """Fifteen of each: a ValueError or TypeError that names the argument, before the first batch."""
    folder: Path = tmp_path_factory.mktemp("wrong")

    @settings(max_examples=15, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), database=None)
    @given(value=WRONG[argument])
    def check(value: Any) -> None:
        arguments = value if isinstance(value, dict) else {argument: value}
        module, loader = Classifier(), DataLoader(make_pairs(), 8)
        with pytest.raises((ValueError, TypeError), match=argument):  # noqa: PT012 - refused by the one or the other
            trainer = Trainer(
                max_epochs=1,
                accelerator="cpu",
                callbacks=[GradCAMCallback(**arguments)],
                logger=TensorBoardLogger(folder),
                num_sanity_val_steps=0,
                enable_checkpointing=False,
                enable_progress_bar=False,
                enable_model_summary=False,
            )
            trainer.fit(module, loader, loader)
        assert module.losses == []

    check()
