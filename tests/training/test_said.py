"""What data sets, data modules and models say of themselves."""

import functools
import logging

import numpy as np
import pytest
import torch
from PIL import Image
from pytorch_lightning import LightningDataModule
from torch import Tensor, nn
from torch.utils.data import ConcatDataset, DataLoader, Dataset, Subset, TensorDataset, random_split
from torchvision import transforms
from torchvision.datasets import FakeData
from torchvision.transforms import v2

from lightning_gradcam import GradCAMCallback
from lightning_gradcam.training.said import colours_of, names_of_classes, normalising_of

from ..conftest import Classifier, make_pairs, small_cnn

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
PIXELS = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
PIXELS[0, :, 0, 0], PIXELS[0, :, 0, 1] = 0, 1
NORMALISED = transforms.Normalize(MEAN, STD)(PIXELS)


class Holder:
    """Anything of a user's, with whatever attributes."""

    def __init__(self, **held: object) -> None:
        vars(self).update(held)


class Wrapping(Dataset):
    def __init__(self, inner: object, transform: object = None) -> None:
        self.subset = inner
        self.transform = transform


whole = transforms.Compose([transforms.ToTensor(), transforms.Normalize(MEAN, STD)])


class OfClass(Dataset):
    transform = whole


class OfProgram(Dataset):
    def __getitem__(self, index: int) -> object:
        return whole(index)


def reading(transform: object) -> object:
    def read(picture: object) -> object:
        return transform(picture)

    return read


def sources() -> dict[str, object]:
    data = FakeData(10, transform=whole)
    modern = v2.Compose([v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD)])
    return {
        "a data set": data,
        "of the second version": FakeData(10, transform=modern),
        "in a sequence of modules": FakeData(10, transform=nn.Sequential(v2.Resize(8), v2.Normalize(MEAN, STD))),
        "a subset": Subset(data, [0, 1]),
        "a part": random_split(data, [5, 5])[0],
        "several": ConcatDataset([data, data]),
        "a wrapper's": Wrapping(FakeData(10), whole),
        "a wrapped one's": Wrapping(Subset(data, [1])),
        "a loader": DataLoader(Subset(data, [0, 1]), batch_size=2),
        "a function's": Holder(read=reading(whole)),
        "a function's with arguments": Holder(read=functools.partial(reading, transform=whole)),
        "by stage": Holder(transforms={"train": None, "val": whole}),
        "tensors": Holder(transform=transforms.Normalize(torch.tensor(MEAN), torch.tensor(STD))),
        "in a method": Holder(read=Wrapping(FakeData(1), whole).__getitem__),
        "its class's": OfClass(),
        "its program's": OfProgram(),
        "numbers of its own": Holder(mean=MEAN, std=list(STD)),
        "arrays of its own": Holder(mean=np.array(MEAN).reshape(1, 3, 1, 1), std=torch.tensor(STD)),
    }


@pytest.mark.parametrize("kind", sources())
def test_normalising(kind: str) -> None:
    """It is found wherever it is held."""
    [found] = normalising_of(NORMALISED, [sources()[kind]])
    assert found.mean == pytest.approx(MEAN)
    assert found.std == pytest.approx(STD)


def broken() -> object:
    class Broken:
        @property
        def mean(self) -> object:
            raise RuntimeError("not yet")

        def __getattr__(self, name: str) -> object:
            raise RuntimeError(name)

    return Broken()


@pytest.mark.parametrize(
    "source",
    [
        Holder(),
        Holder(transform=transforms.ToTensor()),
        Holder(mean=0.5),
        Holder(mean=(0.1, 0.2), std=(0.3, 0.4)),  # of other channels
        Holder(mean="mean", std="std"),
        Holder(mean=(0.5, 0.5, 0.5), std=(1.0, 1.0, 0.0)),
        Holder(mean=(0.5, 0.5, 0.5), std=(1.0, 1.0, 1.0)),  # would have been darker than black
        Holder(mean=lambda: 0.5, std=lambda: 0.5),
        Holder(read=list(range(1000)), inner=[[[[[[[[[[transforms.Normalize(MEAN, STD)]]]]]]]]]]),
        pytest.param(broken(), id="broken"),
        None,
        3,
    ],
)
def test_nothing_is_found(source: object) -> None:
    """Where nothing is said, or what the images cannot have come from."""
    assert normalising_of(NORMALISED, [source]) == []


def test_the_nearest_counts_and_what_cannot_be_is_passed_over() -> None:
    first, second = Holder(mean=MEAN, std=STD), Holder(mean=0.5, std=0.5)
    assert normalising_of(NORMALISED, [Holder(mean=(0.5,) * 4, std=(0.5,) * 4), first, second])[0].mean == MEAN
    assert normalising_of(NORMALISED, [Holder(mean=0.9, std=0.9), first])[0].mean == MEAN
    assert normalising_of(PIXELS, [first]) == []  # nothing was subtracted from these
    assert normalising_of((PIXELS * 255).byte(), [first]) == []
    assert normalising_of(NORMALISED.permute(0, 2, 3, 1), [first])[0].mean == MEAN


def test_cycles_and_crowds_end() -> None:
    """Objects that hold each other, and many of them."""
    one, other = Holder(), Holder()
    one.inner, other.inner = other, one
    one.many = [Holder(inner=one, at=at) for at in range(60)]
    for held in one.many:
        held.many = one.many
    assert normalising_of(NORMALISED, [one]) == []


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (Holder(rgb_bands=("B04", "B03", "B02"), bands=("B02", "B03", "B04", "B08")), (2, 1, 0)),
        (Holder(rgb_bands=["B04", "B03", "B02"], all_bands=["B01", "B02", "B03", "B04"]), (3, 2, 1)),
        (Subset(Holder(rgb_bands=("r", "g", "b"), bands=("r", "g", "b", "n")), [0]), (0, 1, 2)),
        (Holder(rgb_bands=("B04", "B03", "B02"), bands=("B08", "B11")), None),
        (Holder(rgb_bands=("NO2",), all_bands=("NO2",)), None),
        (Holder(rgb_bands=None, bands=None), None),
    ],
)
def test_colours(said: object, expected: object) -> None:
    """Of images that have all its bands, and no others."""
    bands = getattr(getattr(said, "dataset", said), "bands", None) or getattr(said, "all_bands", None) or ()
    assert colours_of(said, len(bands)) == expected
    assert colours_of(said, len(bands) + 1) is None


def test_names_through_wrappers() -> None:
    assert names_of_classes(Wrapping(Subset(Holder(classes=["cat", "dog"]), [0]))) == ("cat", "dog")
    assert names_of_classes(ConcatDataset([[1], [2]])) == ()


class InHook(Classifier):
    """Normalises on the device, as kornia's users do."""

    def __init__(self) -> None:
        super().__init__()
        self.normalize = v2.Normalize(MEAN, STD)

    def on_after_batch_transfer(self, batch: object, dataloader_idx: int) -> object:
        return [self.normalize(batch[0]), *batch[1:]]


class Module(LightningDataModule):
    """Has the numbers, and hooks that use them."""

    mean, std = torch.tensor(0.0), torch.tensor(255.0)

    def __init__(self, loader: DataLoader) -> None:
        super().__init__()
        self.loader = loader

    def train_dataloader(self) -> DataLoader:
        return self.loader

    val_dataloader = train_dataloader

    def on_after_batch_transfer(self, batch: object, dataloader_idx: int) -> object:
        return [(batch[0] - self.mean) / self.std, *batch[1:]]


class Pairs(Dataset):
    """Pixels that a transform makes what the model gets."""

    def __init__(self, transform: object, factor: float = 1.0) -> None:
        self.transform, self.factor = transform, factor

    def __len__(self) -> int:
        return 12

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        image = PIXELS[index % 4] * self.factor
        return (self.transform(image) if self.transform else image), index % 3


def shown(callback: GradCAMCallback, trainer: object, *fitted: object, **options: object) -> list[np.ndarray]:
    kept = []

    class Keeping(type(callback)):
        def teardown(self, trainer, pl_module, stage: str) -> None:
            kept.extend(self._fit.log.images.pictures)
            super().teardown(trainer, pl_module, stage)

    callback.__class__ = Keeping
    trainer.fit(*fitted, **options)
    return kept


@pytest.mark.parametrize("kind", ["data set", "hook", "data module", "given tensor"])
def test_pictures_are_as_before_normalising(make_trainer, caplog, kind: str) -> None:
    """Of each way, as the image was: read back, within the rounding."""
    caplog.set_level(logging.INFO)
    callback = GradCAMCallback(images=[0, 1] if kind != "given tensor" else NORMALISED[:2])
    trainer, module = make_trainer(callback, max_epochs=1), Classifier()
    if kind in ("data set", "given tensor"):
        loader = DataLoader(Pairs(transforms.Normalize(MEAN, STD)), batch_size=4)
        found = shown(callback, trainer, module, loader, loader)
    elif kind == "hook":
        loader = DataLoader(Pairs(None), batch_size=4)
        found = shown(callback, trainer, InHook(), loader, loader)
    else:
        found = shown(callback, trainer, module, datamodule=Module(DataLoader(Pairs(None, 255.0), batch_size=4)))
    for picture, image in zip(found, PIXELS, strict=False):
        assert np.abs(picture / 255 - image.permute(1, 2, 0).numpy()).max() < 0.005
    assert len(found) == 2
    assert caplog.text.count("images are shown as they were before normalising with mean=") == 1


def test_given_values_win(make_trainer, caplog) -> None:
    caplog.set_level(logging.INFO)
    callback = GradCAMCallback(images=[0], mean=0.0, std=0.5)
    loader = DataLoader(Pairs(transforms.Normalize(MEAN, STD)), batch_size=4)
    (picture,) = shown(callback, make_trainer(callback, max_epochs=1), Classifier(), loader, loader)
    assert np.abs(picture / 255 - (NORMALISED[0] * 0.5).clip(0, 1).permute(1, 2, 0).numpy()).max() < 0.005
    assert "before normalising" not in caplog.text


def test_bands(make_trainer, caplog) -> None:
    """A data set that knows its bands' names is shown in true colours; without them it is said what is shown."""

    class Bands(Dataset):
        bands = ("B02", "B03", "B04", "B08", "B11")

        def __len__(self) -> int:
            return 12

        def __getitem__(self, index: int) -> tuple[Tensor, int]:
            return torch.arange(5.0)[:, None, None].expand(5, 8, 8) / 4, index % 3

    def run(dataset: Dataset, **options: object) -> np.ndarray:
        callback = GradCAMCallback(images=[0], mean=0.0, std=1.0, **options)
        loader = DataLoader(dataset, batch_size=4)
        module = Classifier(small_cnn(5))
        return shown(callback, make_trainer(callback, max_epochs=1), module, loader, loader)[0][0, 0]

    assert run(Bands()).tolist() == [0, 64, 128]
    assert "of the images' 5 channels the first three are shown as red, green, blue" in caplog.text
    caplog.clear()
    Bands.rgb_bands = ("B04", "B03", "B02")
    assert run(Bands()).tolist() == [128, 64, 0]
    assert run(Bands(), channels=4).tolist() == [255, 255, 255]
    assert "channels=None" not in caplog.text
    with pytest.raises(ValueError, match=r"channels=\(5, 4, 3\): the images have no channel 5"):
        run(Bands(), channels=(5, 4, 3))


def test_an_image_processor() -> None:
    """transformers' say it in their own words."""
    transformers = pytest.importorskip("transformers")
    processor = transformers.ViTImageProcessor(size={"height": 8, "width": 8}, image_mean=MEAN, image_std=STD)
    pictures = [Image.fromarray((one.permute(1, 2, 0) * 255).byte().numpy()) for one in PIXELS]
    images = processor(pictures, return_tensors="pt")["pixel_values"]
    assert normalising_of(images, [Holder(processor=processor)])[0].mean == pytest.approx(MEAN)
    silent = transformers.ViTImageProcessor(do_normalize=False, image_mean=MEAN, image_std=STD)
    assert normalising_of(images, [Holder(processor=silent)]) == []


def test_normalising_of_something_else_is_passed_over() -> None:
    """Of labels, by other ways than mean and std, and what is not clear is said to be unclear."""

    class NormalizeTarget(transforms.Normalize):
        pass

    labels = transforms.Normalize(35.2, 12.1)
    assert normalising_of(NORMALISED, [Holder(target_transform=labels, label_transforms=[labels])]) == []
    assert normalising_of(NORMALISED, [Holder(transform=NormalizeTarget(MEAN, STD))]) == []
    assert normalising_of(NORMALISED, [Holder(mean=35.2, std=12.1)]) == []
    assert len(normalising_of(NORMALISED, [Holder(mean=(400.0, 500, 600), std=(90.0, 80, 70))])) == 1

    class Normalize:
        mean, std, normalization = MEAN, STD, "image"

    assert normalising_of(NORMALISED, [Holder(transform=Normalize())]) == []
    both = Holder(train=transforms.Normalize(MEAN, STD), val=transforms.Normalize((0.45,) * 3, (0.22,) * 3))
    assert len(normalising_of(NORMALISED, [both])) == 2
    same = Holder(train=transforms.Normalize(MEAN, STD), val=transforms.Normalize(MEAN, STD))
    assert len(normalising_of(NORMALISED, [same])) == 1


def test_what_is_unclear_is_said(make_trainer, caplog) -> None:
    """And no picture is made by it."""
    dataset = Pairs(transforms.Normalize(MEAN, STD))
    dataset.other = transforms.Normalize((0.45,) * 3, (0.22,) * 3)
    callback, loader = GradCAMCallback(images=[0]), DataLoader(dataset, batch_size=4)
    (picture,) = shown(callback, make_trainer(callback, max_epochs=1), Classifier(), loader, loader)
    assert "mean=None: images may be normalised with mean=(0.485, 0.456, 0.406)" in caplog.text
    assert picture.max() == 255
    assert picture.min() == 0


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (Holder(classes=["dog", "cat", "ape"], class_to_idx={"ape": 0, "cat": 1, "dog": 2}), ("ape", "cat", "dog")),
        (Holder(class_to_idx={"a": 0, "b": None}), ()),
        (Holder(config=Holder(id2label={str(index): f"c{index}" for index in range(12)})), "c"),
        (Holder(config=Holder(id2label={0: "a", "x": "b"}), classes=["p", "q"]), ("p", "q")),
        (Holder(classes=["only"]), ()),
        (Holder(config=Holder(id2label={0: "LABEL_0", 1: "LABEL_1"})), ()),
    ],
)
def test_names_are_in_the_order_of_their_classes(source: object, expected: object) -> None:
    found = names_of_classes(source)
    assert found == (tuple(f"c{index}" for index in range(12)) if expected == "c" else expected)


class Acting(LightningDataModule):
    """Its properties act: they draw random numbers, keep what they made, and one fails."""

    def __init__(self, loader: DataLoader) -> None:
        super().__init__()
        self.loader, self.made = loader, []

    def train_dataloader(self) -> DataLoader:
        return self.loader

    val_dataloader = train_dataloader

    @property
    def classes(self) -> list[str]:
        self.made.append(float(torch.rand(())))
        return ["a", "b", "c"]

    @property
    def mean(self) -> float:
        raise RuntimeError("not ready")


def test_what_is_asked_changes_nothing(make_trainer) -> None:
    """Random states and what a property keeps are as without; names are found all the same."""

    def fitted(*watching: GradCAMCallback) -> tuple[list[float], Acting]:
        torch.manual_seed(0)
        data, module = Acting(DataLoader(make_pairs(12), batch_size=4, shuffle=True)), Classifier()
        make_trainer(*watching, max_epochs=2).fit(module, datamodule=data)
        return module.losses, data

    plain, watched = fitted()[0], fitted(callback := GradCAMCallback(images=4))
    assert watched[0] == plain
    assert watched[1].made == []
    assert callback._memory.probe_set.names == (("a", "b", "c"),)


def test_two_callbacks_with_other_pictures_of_the_same_images_are_told_apart(make_trainer, loader) -> None:
    """They would write other images under one tag."""
    images = next(iter(loader))[0][:2]
    for other in ({"mean": 0.5, "std": 0.5}, {"channels": (2, 1, 0)}):
        both = GradCAMCallback("network.6", images=images), GradCAMCallback("network.0", images=images, **other)
        with pytest.raises(ValueError, match="pass one of them a name="):
            make_trainer(*both, max_epochs=1).fit(Classifier(), loader, loader)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"every_n_train_steps": 2}, {}),
        ({"label_key": 1}, {"label_key": 2}),
        ({"mask_key": 3}, {"mask_key": 4}),
        ({"mask_key": 3}, {}),
    ],
    ids=str,
)
def test_two_callbacks_that_say_other_things_of_the_same_images_are_told_apart(make_trainer, one, other) -> None:
    """What is known of the images is written once, and would be said of both's looks; with a name it is each's own."""
    images, labels = make_pairs().tensors
    masks = torch.zeros(2, len(images), 16, 16, dtype=torch.bool)
    masks[0, :, :8], masks[1, :, :2] = True, True
    loader = DataLoader(TensorDataset(images, labels, (labels + 1) % 3, *masks), 8)
    both = GradCAMCallback("network.6", images=2, **one), GradCAMCallback("network.3", images=2, **other)
    with pytest.raises(ValueError, match="pass one of them a name="):
        make_trainer(*both, max_epochs=1).fit(Classifier(), loader, loader)
    named = GradCAMCallback("network.6", images=2, **one), GradCAMCallback("network.3", images=2, name="b", **other)
    make_trainer(*named, max_epochs=1).fit(Classifier(), loader, loader)


@pytest.mark.parametrize(("names", "expected"), [(["a", "b", "c"], ["a", "b", "c"]), (["a", "b"], None)])
def test_names_that_are_as_many_as_the_classes(make_trainer, names, expected) -> None:
    """Others are none of these classes'; of a regression none are."""

    class Named(TensorDataset):
        classes = names

    for labels, module, wanted in (
        (torch.arange(12) % 3, Classifier(), expected),
        (torch.rand(12), Classifier(small_cnn(classes=1)), None),
    ):
        loader = DataLoader(Named(PIXELS.repeat(3, 1, 1, 1), labels), batch_size=4)
        module.training_step = lambda batch, batch_idx, module=module: module(batch[0]).square().mean()
        module.validation_step = lambda batch, batch_idx: None
        kept = []

        class Keeping(GradCAMCallback):
            def teardown(self, trainer, pl_module, stage: str, kept: list = kept) -> None:
                kept.append(self._fit.class_names)
                super().teardown(trainer, pl_module, stage)

        make_trainer(Keeping(images=4), max_epochs=1).fit(module, loader, loader)
        assert kept == [wanted and tuple(wanted)]
