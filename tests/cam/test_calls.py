"""How models are called, told by what their forward takes and by trying."""

import pytest
import torch
from torch import Tensor, nn

from lightning_gradcam.cam.calls import Call, Inputs, takes_batch
from lightning_gradcam.cam.compute import compute_cams
from lightning_gradcam.cam.lend import Lender
from lightning_gradcam.cam.plan import make_plan
from lightning_gradcam.cam.settings import Settings
from lightning_gradcam.cam.trees import Path, Rows
from lightning_gradcam.cam.ways import required_inputs

from ..conftest import small_cnn

IMAGES = torch.rand(5, 3, 16, 16, generator=torch.Generator().manual_seed(0))
ROWS, LABELS = torch.arange(10.0).reshape(5, 2), torch.tensor([0, 1, 2, 0, 1])


class Net(nn.Module):
    """A classifier; what its subclasses take besides is noted, and shifts its scores."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.network = small_cnn()

    def scores(self, images: Tensor, shift: Tensor | float = 0.0) -> Tensor:
        return self.network(images) + shift


class TakesBatch(Net):
    def forward(self, batch):
        images, labels = batch
        return self.scores(images, labels[:, None] * 1.0)


class TakesDict(Net):
    def forward(self, sample):
        return self.scores(sample["image"], sample["row"].sum(1, keepdim=True))


class TakesKeywords(Net):
    def forward(self, **batch):
        return {"logits": self.scores(batch["image"], batch["row"].sum(1, keepdim=True)), "loss": batch["label"].sum()}


class TakesPixels(Net):
    def forward(self, pixel_values, labels=None):
        return self.scores(pixel_values)


class TakesNamed(Net):
    def forward(self, row, image):
        return self.scores(image, row.sum(1, keepdim=True))


class TakesPlaces(Net):
    def forward(self, picture, table):
        return self.scores(picture, table.sum(1, keepdim=True))


class TakesViews(Net):
    def forward(self, first, second):
        return self.scores(first - second)


class TakesList(Net):
    def forward(self, views):
        return self.scores(views[0] - views[1])


class TakesLabels(Net):
    def forward(self, images, labels):
        return self.scores(images, nn.functional.one_hot(labels, 3) * 1.0)


class TakesOptional(Net):
    def forward(self, input_ids=None, pixel_values=None):
        return self.scores(pixel_values) if input_ids is None else self.no_such_thing(input_ids)


class TakesMore(Net):
    def forward(self, image, row=None, label=None):
        assert label is None
        return self.scores(image, 0.0 if row is None else row.sum(1, keepdim=True))


class TakesMeta(Net):
    def forward(self, image, meta=None):
        return self.scores(image, 0.0 if meta is None else meta.sum(1, keepdim=True))


class NeedsMeta(Net):
    def forward(self, img, meta):
        return self.scores(img, meta.sum(1, keepdim=True))


class TakesTabular(Net):
    def forward(self, image, tabular):
        return self.scores(image, tabular.sum(1, keepdim=True))


class Generates(Net):
    def __init__(self) -> None:
        super().__init__()
        self.noise = nn.Linear(7, 3)

    def forward(self, noise):
        return self.noise(noise)


class TakesRest(Net):
    def forward(self, photo, row):
        return self.scores(photo, row.sum(1, keepdim=True))


class Spoils(Net):
    def forward(self, batch):
        images, more = batch
        return self.scores(images, more["gain"].mul_(2) * 0 + more.pop("row").mul_(2).sum(1, keepdim=True))


class InPlace(Net):
    def forward(self, images):
        return self.scores(images.sub_(0.5).mul_(2))


class WithoutForward(Net):
    def training_step(self, batch, batch_idx):
        return self.network(batch[0]).sum()


TABLE = {"image": IMAGES, "row": ROWS, "label": LABELS}
SUM = ROWS.sum(1, keepdim=True)
CASES: dict[str, tuple[type[Net], object, Path, Path | None, str, Tensor, Tensor | float]] = {
    "the batch": (TakesBatch, (IMAGES, LABELS), (0,), (1,), "TakesBatch(batch)", IMAGES, LABELS[:, None]),
    "a dict": (TakesDict, TABLE, ("image",), ("label",), "TakesDict(batch)", IMAGES, SUM),
    "any keywords": (
        *(TakesKeywords, TABLE, ("image",), ("label",)),
        *("TakesKeywords(image=batch['image'], row=batch['row'], label=batch['label'])", IMAGES, SUM),
    ),
    "one keyword": (
        *(TakesPixels, {"labels": LABELS, "pixel_values": IMAGES}, ("pixel_values",), ("labels",)),
        *("TakesPixels(images)", IMAGES, 0),
    ),
    "keywords": (
        *(TakesNamed, TABLE, ("image",), ("label",)),
        *("TakesNamed(row=batch['row'], image=batch['image'])", IMAGES, SUM),
    ),
    "places": (*(TakesPlaces, (IMAGES, ROWS, LABELS), (0,), (2,), "TakesPlaces(batch[0], batch[1])", IMAGES, SUM),),
    "places in a dict": (
        *(TakesPlaces, TABLE, ("image",), ("label",), "TakesPlaces(batch['image'], batch['row'])", IMAGES, SUM),
    ),
    "views": (
        *(TakesViews, ([IMAGES, IMAGES.flip(3)], LABELS), (0, 0), (1,)),
        *("TakesViews(batch[0][0], batch[0][1])", IMAGES - IMAGES.flip(3), 0),
    ),
    "a list of views": (
        *(TakesList, ([IMAGES, IMAGES.flip(3)], LABELS), (0, 0), (1,), "TakesList(batch[0])"),
        *(IMAGES - IMAGES.flip(3), 0),
    ),
    "labels": (
        *(TakesLabels, (IMAGES, LABELS), (0,), (1,), "TakesLabels(batch[0], batch[1])", IMAGES),
        nn.functional.one_hot(LABELS, 3),
    ),
    "optional ones": (
        *(TakesOptional, {"input_ids": LABELS, "pixel_values": IMAGES}, ("pixel_values",), None),
        *("TakesOptional(pixel_values=batch['pixel_values'])", IMAGES, 0),
    ),
    "optional ones that the batch has": (
        *(TakesMore, TABLE, ("image",), ("label",), "TakesMore(image=batch['image'], row=batch['row'])"),
        *(IMAGES, SUM),
    ),
    "in another order": (
        *(TakesPlaces, {"row": ROWS, "image": IMAGES, "label": LABELS, "id": LABELS}, ("image",), ("label",)),
        *("TakesPlaces(batch['image'], batch['row'])", IMAGES, SUM),
    ),
    "all names but the images'": (
        *(TakesRest, {"id": LABELS, "row": ROWS, "image": IMAGES}, ("image",), None),
        *("TakesRest(photo=batch['image'], row=batch['row'])", IMAGES, SUM),
    ),
    "an optional one by a name like its own": (
        *(TakesMeta, {"image": IMAGES, "metadata": ROWS, "label": LABELS}, ("image",), ("label",)),
        *("TakesMeta(image=batch['image'], meta=batch['metadata'])", IMAGES, SUM),
    ),
    "an optional one beside the images": (
        *(TakesMeta, ((IMAGES, ROWS), LABELS), (0, 0), (1,), "TakesMeta(batch[0][0], batch[0][1])", IMAGES, SUM),
    ),
    "a name like its own, and other entries": (
        *(NeedsMeta, {"image": IMAGES, "id": LABELS, "metadata": ROWS, "label": LABELS}, ("image",), ("label",)),
        *("NeedsMeta(img=batch['image'], meta=batch['metadata'])", IMAGES, SUM),
    ),
    "an optional one by such a name, and the images by none": (
        *(TakesMeta, {"photo": IMAGES, "metadata": ROWS}, ("photo",), None),
        *("TakesMeta(image=batch['photo'], meta=batch['metadata'])", IMAGES, SUM),
    ),
    "names within": (
        *(TakesTabular, {"inputs": {"image": IMAGES, "tabular": ROWS}, "label": LABELS}, ("inputs", "image")),
        *(("label",), "TakesTabular(batch['inputs']['image'], batch['inputs']['tabular'])", IMAGES, SUM),
    ),
    "a batch that is spoilt": (
        *(Spoils, (IMAGES, {"gain": torch.ones(1), "row": ROWS}), (0,), None, "Spoils(batch)", IMAGES, 2 * SUM),
    ),
    "in place": (InPlace, (IMAGES, LABELS), (0,), (1,), "InPlace(images)", (IMAGES - 0.5) * 2, 0),
    "a child": (WithoutForward, (IMAGES, LABELS), (0,), (1,), "WithoutForward.network(images)", IMAGES, 0),
}


@pytest.mark.parametrize(("kind", "batch", "place", "label", "said", "seen", "shift"), CASES.values(), ids=CASES)
@pytest.mark.parametrize("method", ["gradcam", "scorecam"])
def test_a_model_is_called_as_its_own_code_calls_it(kind, batch, place, label, said, seen, shift, method) -> None:
    """Each image with its own row of what came with it, in chunks too, and for grad-cam's varied images."""
    model, before = kind().eval(), IMAGES.clone()
    with Lender(model).twin(None) as (lent, _):
        inputs = Inputs(IMAGES, Rows(batch, 5), place, label)
        plan = make_plan(lent, inputs, LABELS, Settings("network.5", "predicted", method, batch_size=2))
        cams = compute_cams(lent, inputs, plan.known(LABELS), plan)[0]
    assert plan.call.said(model) == said
    with torch.no_grad():
        expected = (model.network(seen) + shift).softmax(1).max(1)
    assert torch.allclose(cams.scores[:, 0], expected.values, atol=1e-5)
    assert torch.equal(cams.predictions, expected.indices)
    assert torch.equal(IMAGES, before)


def test_a_callable_may_take_the_batch() -> None:
    """As its third argument."""
    model = Net().eval()
    inputs = Inputs(IMAGES, Rows(TABLE, 5), ("image",), ("label",))

    def output(model: Net, images: Tensor, batch: dict) -> Tensor:
        assert batch["image"] is images
        return model.scores(images, batch["row"].sum(1, keepdim=True))

    with Lender(model).twin(None) as (lent, _):
        plan = make_plan(lent, inputs, LABELS, Settings("network.5", "predicted", output=output, batch_size=2))
        cams = compute_cams(lent, inputs, plan.known(LABELS), plan)[0]
        assert plan.call.needs_batch
        with pytest.raises(ValueError, match=r"output= takes \(model, images, batch\), and the images were given"):
            make_plan(lent, Inputs(IMAGES), None, Settings(output=output))
    with torch.no_grad():
        assert torch.equal(cams.predictions, (model.network(IMAGES) + SUM).argmax(1))


@pytest.mark.parametrize(
    ("kind", "batch", "place", "label", "guess"),
    [
        (TakesPlaces, (IMAGES, ROWS, LABELS), (0,), (2,), ""),
        (TakesPlaces, TABLE, ("image",), ("label",), "in an order that no names tell"),
        (TakesLabels, (IMAGES, LABELS), (0,), (1,), "with the labels"),
        (TakesNamed, TABLE, ("image",), ("label",), ""),
        (TakesTabular, {"inputs": {"image": IMAGES, "tabular": ROWS}}, ("inputs", "image"), None, ""),
        (TakesMeta, {"image": IMAGES, "metadata": ROWS}, ("image",), None, "by names that are alike"),
        (TakesMeta, {"image": IMAGES, "row": ROWS}, ("image",), None, "without its meta"),
        (TakesMeta, {"image": IMAGES, "label": LABELS}, ("image",), ("label",), ""),
        (TakesMeta, (IMAGES, LABELS), (0,), (1,), ""),
        (TakesPixels, {"pixel_values": IMAGES, "row": ROWS}, ("pixel_values",), None, ""),
    ],
)
def test_what_no_name_tells_is_a_guess(kind, batch, place, label, guess) -> None:
    """Which is said with the line that calls it otherwise."""
    with Lender(kind()).twin(None) as (lent, _):
        plan = make_plan(lent, Inputs(IMAGES, Rows(batch, 5), place, label), LABELS, Settings())
    assert plan.call.guess == guess


class TakesThree(Net):
    def forward(self, images, prompts, sizes):
        raise AssertionError


class Fails(Net):
    def forward(self, images):
        raise RuntimeError("a fault of the user's own")


class Nothing(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.backbone, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4, 3)


@pytest.mark.parametrize(
    ("model", "kind", "message"),
    [
        (
            TakesThree(),
            ValueError,
            r"TakesThree\(images\): TypeError: .*missing 2 required.*batch: model\(images, batch",
        ),
        (Fails(), RuntimeError, "a fault of the user's own"),
        (Generates(), RuntimeError, r"Generates\(images\): RuntimeError.*batch: model\(images, batch\['row'\]\)"),
        (
            Nothing(),
            ValueError,
            r"Nothing has no forward, and 2 children .*model, images: model.head\(model.backbone\(images\)\)",
        ),
    ],
    ids=["three", "own", "generates", "no forward"],
)
def test_where_no_way_works_the_line_to_paste_is_said(model, kind, message) -> None:
    """How it was called, and never the model's repr."""
    batch = {"image": IMAGES, "row": ROWS}
    with Lender(model).twin(None) as (lent, _), pytest.raises(kind, match=message) as told:
        make_plan(lent, Inputs(IMAGES, Rows(batch, 5), ("image",)), None, Settings())
    assert "Conv2d(" not in str(told.value)


def test_the_line_to_paste_is_none_that_was_tried() -> None:
    """Where nothing else came with the images it is of a child that has weights."""
    with Lender(Generates()).twin(None) as (lent, _), pytest.raises(RuntimeError, match=r"model\.network\(images\)$"):
        make_plan(lent, Inputs(IMAGES, Rows([IMAGES], 5), (0,)), None, Settings())


@pytest.mark.parametrize(
    ("kind", "output", "count"),
    [
        (TakesPlaces, None, 2),
        (TakesMeta, None, 1),
        (TakesLabels, None, 1),
        (TakesKeywords, None, 1),
        (WithoutForward, None, 1),
        (TakesPlaces, lambda model, images: model(images), 1),
        (TakesPlaces, "scores", 1),
        (TakesPlaces, "no_such", 1),
    ],
)
def test_how_many_inputs_a_model_needs(kind, output, count) -> None:
    assert required_inputs(kind(), output) == count


def test_images_alone_need_no_batch() -> None:
    """Which is not kept then."""
    assert not Call().needs_batch
    assert Call(arguments=((),)).needs_batch
    assert Call(keywords=(("x", ("x",)),)).needs_batch


def test_what_came_with_the_images_stays_what_it_was() -> None:
    """Whatever a forward does to it, in each of its calls."""
    more = {"gain": torch.ones(1), "row": ROWS.clone()}
    inputs = Inputs(IMAGES, Rows((IMAGES, more), 5), (0,))
    for _ in range(2):
        Call(arguments=((),))(Spoils(), inputs)
    assert float(more["gain"]) == 1
    assert torch.equal(more["row"], ROWS)


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        (lambda model, images: model, False),
        (lambda model, images, batch: model, True),
        (lambda model, images, batch=None: model, True),
        (lambda model, images, scale=2: model, False),
    ],
)
def test_who_takes_a_batch_is_given_it(output, expected) -> None:
    """A third argument without a default, or of that name."""
    assert takes_batch(output) == expected
