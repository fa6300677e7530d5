"""The Attention tab's data and routes, on a real TensorBoard with either of its loaders."""

import io
import json
import math
import re
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.tensorboard import SummaryWriter

from lightning_gradcam import GradCAMCallback, read_log
from lightning_gradcam.cam.maps import Cams
from lightning_gradcam.cam.states import SHOWN
from lightning_gradcam.cam.tasks import Task
from lightning_gradcam.dashboard import plugin as plugin_module
from lightning_gradcam.dashboard.loader import AttentionLoader
from lightning_gradcam.logs import schema, unpacking
from lightning_gradcam.logs.events import Events
from lightning_gradcam.logs.packing import fingerprint_of_set, fingerprints
from lightning_gradcam.logs.run_log import RunLog
from lightning_gradcam.pictures.shown import ShownImages
from lightning_gradcam.timeline.history import History
from lightning_gradcam.timeline.metrics import measure

from ..conftest import Classifier

LAYER = "network.6"
MAPS = schema.part_tag(schema.grid_tag(LAYER), schema.MAPS)
PROBE_SET = schema.part_tag(schema.ROOT, schema.PROBE_SET)


def write_run(
    folder: Path,
    epochs: int = 5,
    images: int = 3,
    side: int = 4,
    names: list[str] | None = None,
    start: int = 0,
    shade: int = 128,
    first: int = 0,
) -> History:
    """A run whose image i is hot at place (epoch + i), and predicted as class 9 before epoch 2, then rightly."""
    sink = SimpleNamespace(experiment=SummaryWriter(str(folder)))
    pictures = [np.full((64, 64, 3), shade + i, np.uint8) for i in range(images)]
    shown = ShownImages(pictures, Task("multiclass", 10), [[i] for i in range(images)], "target: label", names)
    known = fingerprints(torch.arange(images)[:, None, None, None] + first)
    log = RunLog(shown, known, Events([sink], Path()), [], schema.ROOT)
    log.log_images(start)
    history = History(LAYER)
    for step in range(start, start + epochs):
        maps = torch.zeros(images, 1, side, side)
        for image in range(images):
            maps[image, 0].view(-1)[(step + image) % side**2] = 1
        classes = torch.arange(images) if step >= 2 else torch.full((images,), 9)
        peaks, scores = torch.full((images, 1), step + 1.0), torch.full((images, 1), 0.5)
        cams = Cams(maps, scores, classes, classes[:, None], "", peaks)
        history = history.with_look(step, cams)
        log.log_look(history, measure(history.view(cams, None)), schema.grid_tag(LAYER))
    sink.experiment.close()
    return history


def write_parts(folder: Path, tag: str, *records: list[bytes]) -> None:
    """Records that others may have written, at the steps 0, 1, ..."""
    sink = SimpleNamespace(experiment=SummaryWriter(str(folder)))
    for step, parts in enumerate(records):
        Events([sink], Path()).write_data(tag, parts, step)
    sink.experiment.close()


def look_record(**sizes: int) -> list[bytes]:
    """A look of one image at 2x2 places, or of other sizes, all zeros."""
    told = {"M": 0, "N": 1, "S": 1, "T": 1, "h": 2, "w": 2, **sizes}
    answers = json.dumps(["predicted 0"] * told["N"]).encode()
    told["A"] = len(answers)
    header = {"version": schema.VERSION, "probe_set": "", "sizes": told, "metrics": [f"m{i}" for i in range(told["M"])]}
    return [
        json.dumps(header).encode(),
        *(schema.deflated(answers if field.name == "answers" else bytes(field.length(told))) for field in schema.LOOK),
    ]


def probe_record(images: int = 1, picture: bytes = b"", **header: object) -> list[bytes]:
    """Images and what is known of them, as a run has them, or otherwise."""
    encoded = io.BytesIO()
    Image.new("RGB", (8, 8)).save(encoded, "JPEG")
    known = {"version": schema.VERSION, "probe_set": "set", "fingerprints": ["0"] * images, "truths": [[0]] * images}
    known["said"] = ["true 0"] * images
    told = {**known, "class_names": None, "columns": [], "about": "", **header}
    return [json.dumps(told).encode(), *[picture or encoded.getvalue()] * images]


@contextmanager
def serving(folder: Path, *options: str) -> Iterator[str]:
    """A real TensorBoard; yields its address."""
    command = [
        sys.executable,
        "-m",
        "tensorboard.main",
        "--logdir",
        str(folder),
        "--port",
        "0",
        "--reload_interval",
        "1",
    ]
    server = subprocess.Popen([*command, *options], stderr=subprocess.PIPE, text=True)
    try:
        said = []
        for line in server.stderr:
            said.append(line)
            if found := re.search(r"at (http://\S+?)/? \(", line):
                yield found[1]
                break
        else:
            raise AssertionError("".join(said))
    finally:
        server.kill()
        server.wait()
        server.stderr.close()


def fetch(url: str, route: str, **query: object) -> bytes:
    with urllib.request.urlopen(f"{url}/data/plugin/gradcam/{route}?{urllib.parse.urlencode(query)}") as answer:
        return answer.read()


def fetch_when(url: str, route: str, until, **query: object) -> bytes:
    """TensorBoard reads its folder in the background."""
    for _ in range(100):
        try:
            if until(found := fetch(url, route, **query)):
                return found
        except urllib.error.HTTPError:
            pass
        subprocess.run(["sleep", "0.2"], check=True)
    raise AssertionError(f"{route} never came")


def looks(body: bytes) -> tuple[dict, list[dict[str, np.ndarray]]]:
    """Read the answer of /looks as the tab does."""
    head, payload = body.split(b"\n", 1)
    told, found, at = json.loads(head), [], 0
    for one in told["looks"]:
        arrays: dict[str, np.ndarray] = {}
        for name, dtype, axes in told["fields"]:
            shape = [one["sizes"][axis] for axis in axes]
            arrays[name] = np.frombuffer(payload, dtype, int(np.prod(shape)), at).reshape(shape)
            at += arrays[name].nbytes
        found.append(arrays)
    assert at == len(payload)
    return told, found


def maps(url: str, run: str, tag: str, told: dict, start: int = 0, count: int | None = None) -> list[np.ndarray | None]:
    """The maps of looks that /looks told of, as the tab asks for them."""
    known = told["known"] + len(told["looks"])
    count = known - start if count is None else count
    body = fetch(url, "maps", run=run, tag=tag, start=start, count=count, known=known, mark=told["mark"])
    head, payload = body.split(b"\n", 1)
    ends = np.cumsum([0, *json.loads(head)])
    assert ends[-1] == len(payload)
    found: list[np.ndarray | None] = []
    for look, begin, end in zip(told["looks"][start : start + count], ends, ends[1:], strict=False):
        shape = [look["sizes"][axis] for axis in "NThw"]
        found.append(np.frombuffer(payload[begin:end], np.uint8).reshape(shape) if end > begin else None)
    return found


LOADERS = pytest.mark.parametrize("loader", ["--load_fast=false", "--load_fast=true"])


@LOADERS
def test_a_fit_of_300_epochs_has_300_in_the_tab(make_trainer, loader, pairs, tmp_path) -> None:
    """Without any flag; the first and the last maps are those of the callback."""
    from torch.utils.data import DataLoader

    callback = GradCAMCallback(images=2)
    data = DataLoader(pairs, batch_size=24)
    make_trainer(callback, max_epochs=300, num_sanity_val_steps=0, limit_val_batches=1).fit(Classifier(), data, data)
    history = callback._memory.histories[schema.grid_tag(LAYER)]
    with serving(tmp_path, loader) as url:
        whole = fetch_when(url, "looks", lambda body: len(looks(body)[1]) == 301, run="run", tag=MAPS)
        told, found = looks(whole)
        runs = json.loads(fetch(url, "runs"))
        assert runs["runs"]["run"][MAPS]["layer"] == LAYER
        assert json.loads(fetch(url, "runs", mark=runs["mark"])) == {"mark": runs["mark"], "runs": None}
        probe = json.loads(fetch(url, "probe", run="run", tag=MAPS))
        ends = maps(url, "run", MAPS, told, 0, 1) + maps(url, "run", MAPS, told, 300, 1)
        nothing, none = looks(fetch(url, "looks", run="run", tag=MAPS, count=301, mark=told["mark"]))
        again, _ = looks(fetch(url, "looks", run="run", tag=MAPS, count=300, mark="of others"))
    assert [one["step"] for one in told["looks"]] == list(range(301))
    assert (nothing["known"], nothing["looks"], none) == (301, [], [])
    assert (again["known"], len(again["looks"])) == (0, 301)
    for place, seen in ((0, ends[0]), (300, ends[1])):
        assert (seen == history.looks[place].maps.numpy()).all()
        peaks = found[place]["numbers"][told["looks"][place]["metrics"].index("peak")]
        drawn = history.looks[place].states[:, 0] == SHOWN
        assert peaks[drawn, 0].tolist() == history.looks[place].peaks[drawn, 0].tolist()
        assert np.isnan(peaks[~drawn]).all()
    assert len(probe["said"]) == 2


@LOADERS
def test_the_tab_is_given_what_a_log_is_read_as(make_trainer, loader, pairs, tmp_path) -> None:
    """Of two targets with trust: every array of every look, the images, what is said of them, and the caution."""
    from torch.utils.data import DataLoader

    data = DataLoader(pairs, batch_size=24)
    callback = GradCAMCallback(images=5, target=[0, 2], trust=True)
    make_trainer(callback, max_epochs=3, num_sanity_val_steps=0).fit(Classifier(), data, data)
    log = read_log(tmp_path)
    with serving(tmp_path, loader) as url:
        whole = fetch_when(url, "looks", lambda body: looks(body)[0]["caution"], run="run", tag=MAPS)
        told, found = looks(whole)
        probe = json.loads(fetch(url, "probe", run="run", tag=MAPS))
        seen = maps(url, "run", MAPS, told)
        asked = {"run": "run", "tag": MAPS, "set": probe["probe_set"]}
        pictures = [fetch(url, "picture", image=image, **asked) for image in range(5)]
    assert [one["step"] for one in told["looks"]] == log.steps.tolist() == [0, 1, 2, 3]
    assert (np.stack(seen) / np.float32(255) == log.maps).all()
    for name in ("states", "scores", "predictions", "targets", "wrong"):
        assert (np.stack([one[name] for one in found]) == getattr(log, name)).all(), name
    assert [json.loads(one["answers"].tobytes()) for one in found] == log.answers.tolist()
    for place, (one, arrays) in enumerate(zip(told["looks"], found, strict=True)):
        for name, values in zip(one["metrics"], arrays["numbers"], strict=True):
            assert np.array_equal(values, log.numbers[name][place], equal_nan=True), name
        assert {name for name in log.numbers if np.isfinite(log.numbers[name][place]).any()} <= set(one["metrics"])
    assert told["caution"] == log.caution
    for name in ("fingerprints", "indices", "truths", "said", "columns", "about", "unit", "scale", "task", "metrics"):
        assert probe[name] == getattr(log, name), name
    for encoded, picture in zip(pictures, log.pictures, strict=True):
        assert (np.asarray(Image.open(io.BytesIO(encoded))) == picture).all()


@LOADERS
def test_a_resumed_run_writes_steps_again_and_the_last_counts(loader, tmp_path) -> None:
    """Into the same folder: 0 to 4, then 3 to 6 with other maps."""
    write_run(tmp_path / "run", 5, side=4)
    time.sleep(1.1)  # TensorBoard reads files in the order of their names, which begin with the second
    again = write_run(tmp_path / "run", 4, side=5, start=3)
    with serving(tmp_path, loader) as url:
        told, _ = looks(fetch_when(url, "looks", lambda body: len(looks(body)[1]) == 7, run="run", tag=MAPS))
        found = maps(url, "run", MAPS, told)
    assert [one["step"] for one in told["looks"]] == list(range(7))
    assert [one["sizes"]["h"] for one in told["looks"]] == [4, 4, 4, 5, 5, 5, 5]
    assert (found[3] == again.looks[0].maps.numpy()).all()


def test_an_epoch_takes_few_bytes(tmp_path) -> None:
    """64 images at 14x14 at most 15 kB, 32 at 7x7 at most 4 kB, with the numbers of masks."""
    for images, side, most in ((64, 14, 15_000), (32, 7, 4_000)):
        sink = SimpleNamespace(experiment=SummaryWriter(str(tmp_path / str(images))))
        pictures = [np.zeros((8, 8, 3), np.uint8)] * images
        shown = ShownImages(pictures, Task("multiclass", 10), [[0]] * images, "")
        log = RunLog(shown, ["0"] * images, Events([sink], Path()), [], schema.ROOT)
        classes = torch.zeros(images, dtype=torch.long)
        maps, peaks = torch.rand(images, 1, side, side), torch.ones(images, 1)
        cams = Cams(maps, torch.ones(images, 1), classes, classes[:, None], "", peaks)
        history = History(LAYER).with_look(0, cams).with_look(1, cams)
        masks = torch.ones(images, 1, 8, 8, dtype=torch.bool)
        file = next((tmp_path / str(images)).glob("events*"))
        sink.experiment.flush()
        before = file.stat().st_size
        log.log_look(history, measure(history.view(cams, masks)), schema.grid_tag(LAYER))
        sink.experiment.close()
        assert 0 < file.stat().st_size - before <= most


@LOADERS
def test_looks_of_a_branch_that_was_left_are_left_out(loader, tmp_path) -> None:
    """0 to 5, then 3 again with another map: what a checkpoint of epoch 2 goes on from is 0, 1, 2 and the new 3."""
    write_run(tmp_path / "run", 6)
    time.sleep(1.1)  # as above
    again = write_run(tmp_path / "run", 1, side=5, start=3)
    with serving(tmp_path, loader) as url:
        told, _ = looks(fetch_when(url, "looks", lambda body: len(looks(body)[1]) == 4, run="run", tag=MAPS))
        found = maps(url, "run", MAPS, told)
    assert [one["step"] for one in told["looks"]] == [0, 1, 2, 3]
    assert [one["sizes"]["h"] for one in told["looks"]] == [4, 4, 4, 5]
    assert (found[3] == again.looks[0].maps.numpy()).all()


def parts_of(folder: Path, tag: str) -> tuple[dict, list[bytes]]:
    """The last record of a tag: its header and its arrays."""
    events = EventAccumulator(str(folder), size_guidance={"tensors": 0})
    events.Reload()
    header, *arrays = events.Tensors(tag)[-1].tensor_proto.string_val
    return json.loads(header), arrays


def test_numbers_travel_whole_whatever_their_range(tmp_path) -> None:
    """In single precision; what a blank map has none of is told apart from 0. Maps' peaks are there in any case."""
    sink = SimpleNamespace(experiment=SummaryWriter(str(tmp_path)))
    shown = ShownImages([np.zeros((8, 8, 3), np.uint8)] * 3, Task("multiclass", 10), [[0]] * 3, "")
    known = fingerprints(torch.arange(3)[:, None, None, None])
    classes = torch.zeros(3, dtype=torch.long)
    cams = Cams(torch.ones(3, 1, 2, 2), torch.ones(3, 1), classes, classes[:, None], "", torch.ones(3, 1))
    values = {"large": torch.tensor([[30.01], [-7e9], [0.0]]), "rare": torch.tensor([[torch.nan], [1e-9], [1.0]])}
    log = RunLog(shown, known, Events([sink], Path()), [], schema.ROOT)
    log.log_look(History(LAYER).with_look(4, cams), values, schema.grid_tag(LAYER))
    sink.experiment.close()
    header, arrays = parts_of(tmp_path, MAPS)
    assert header["metrics"] == ["large", "rare", "peak"]
    assert header["probe_set"] == log.probe_set
    numbers = np.frombuffer(zlib.decompress(arrays[0]), "<f4").reshape(3, 3)
    assert numbers[0].tolist() == np.float32([30.01, -7e9, 0]).tolist()
    assert np.isnan(numbers[1, 0])
    assert numbers[1, 1:].tolist() == np.float32([1e-9, 1]).tolist()
    assert numbers[2].tolist() == [1, 1, 1]


def test_an_array_is_unpacked_at_its_length_or_not_at_all() -> None:
    """Neither shorter nor longer nor broken."""
    packed = schema.deflated(b"12345")
    assert schema.inflated(packed, 5) == b"12345"
    for part, length in ((packed, 4), (packed, 0), (packed, 6), (packed[:-8], 5), (b"12345", 5)):
        with pytest.raises(ValueError, match="array"):
            schema.inflated(part, length)


def test_fingerprints_tell_images_and_sets_of_them_apart() -> None:
    """By their pixels, whatever precision these are held in; the same on every machine."""
    images = torch.arange(24).reshape(2, 3, 2, 2)
    first, second = fingerprints(images)
    assert first != second
    assert fingerprints(images.float()) == fingerprints(images.to(torch.bfloat16)) == [first, second]
    assert fingerprints(images.reshape(2, 3, 4, 1))[0] != first
    noise = torch.randn(2, 3, 8, 8)
    assert fingerprints(noise) == fingerprints(noise.bfloat16()) == fingerprints(noise.double())
    assert fingerprints(-torch.zeros(1, 1, 2, 2)) == fingerprints(torch.zeros(1, 1, 2, 2))
    assert fingerprints(torch.zeros(1, 1, 2, 2)) == fingerprints(-torch.zeros(1, 1, 2, 2))
    assert fingerprint_of_set([first, second]) != fingerprint_of_set([second, first])
    assert (first, fingerprint_of_set([first])) == ("f48f5cc6d76dedda", "ecf91ce49baeb0e9")


@pytest.fixture(scope="module")
def address(tmp_path_factory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("bad")
    write_run(folder / "run")
    time.sleep(1.1)
    sink = SimpleNamespace(experiment=SummaryWriter(str(folder / "run")))
    short = {"version": 2, "probe_set": "", "sizes": dict.fromkeys("NThw", 1) | {"M": 0}, "metrics": []}
    bad = [[b"no json"], [], [json.dumps(short).encode(), b"short"], [b'{"version":99}']]
    for step, parts in enumerate(bad):
        Events([sink], Path()).write_data(MAPS, parts, step=100 + step)
    sink.experiment.close()
    write_odd_runs(folder)
    with serving(folder, "--load_fast=false") as url:
        fetch_when(url, "looks", lambda body: json.loads(body.split(b"\n")[0])["broken"] == 4, run="run", tag=MAPS)
        yield url


def write_odd_runs(folder: Path) -> None:
    """Well-formed tensors with one thing wrong, a run each; and whole ones, to tell that it is that thing."""
    write_parts(folder / "whole", MAPS, look_record(), look_record(M=2), look_record(N=3, h=5))
    write_parts(folder / "empty", MAPS, *(look_record(**{axis: 0}) for axis in "NThw"))
    most = unpacking.MOST // 4096
    write_parts(folder / "huge", MAPS, look_record(h=4096, w=most))
    header, *arrays = look_record()
    sizes = json.loads(header)["sizes"]
    extra = [json.loads(header) | {"sizes": sizes | {"evil": evil}, "evil": evil} for evil in (math.nan, "<script>")]
    write_parts(folder / "evil", MAPS, *([json.dumps(one).encode(), *arrays] for one in extra))
    png = io.BytesIO()
    Image.new("RGB", (8, 8)).save(png, "PNG")
    for run, record in {
        "whole": probe_record(2, truths=[[0, 1], [1.5]]),
        "png": probe_record(picture=png.getvalue()),
        "svg": probe_record(picture=b"<svg onload='alert(1)'/>"),
        "nan": probe_record(truths=[math.nan]),
        "nan deep": probe_record(truths=[[math.nan]]),
        "nan beside": probe_record(evil=math.nan),
        "infinite": [part.replace(b"0.5", b"1e999") for part in probe_record(truths=[[0.5]])],
        "extra": probe_record(evil="<script>"),
    }.items():
        write_parts(folder / run, PROBE_SET, record)


def strict(text: bytes) -> Any:
    """JSON as a browser reads it, which knows neither NaN nor infinities."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(text, parse_constant=refuse)


def told_of(address: str, run: str, records: int) -> dict:
    """The first line of a run's looks, once so many are read."""

    def whole(body: bytes) -> bool:
        told = json.loads(body.split(b"\n")[0])
        return len(told["looks"]) + told["broken"] == records

    return strict(fetch_when(address, "looks", whole, run=run, tag=MAPS).split(b"\n")[0])


def test_looks_without_a_map_or_too_large_to_unpack_are_left_out(address) -> None:
    """An axis of no length; a zip bomb of 64 MiB and a little, which is some kB on disk."""
    assert [one["sizes"] for one in told_of(address, "whole", 3)["looks"]] == [
        {"M": 0, "N": 1, "S": 1, "A": 15, "T": 1, "h": 2, "w": 2},
        {"M": 2, "N": 1, "S": 1, "A": 15, "T": 1, "h": 2, "w": 2},
        {"M": 0, "N": 3, "S": 1, "A": 45, "T": 1, "h": 5, "w": 2},
    ]
    for run, broken in (("empty", 4), ("huge", 1)):
        told = told_of(address, run, broken)
        assert (told["looks"], told["broken"]) == ([], broken), run


def test_of_a_looks_header_only_what_is_known_is_handed_on(address) -> None:
    """And nothing of one with a NaN, wherever it is."""
    told = told_of(address, "evil", 2)
    assert told["broken"] == 1
    [look] = told["looks"]
    assert look["sizes"].keys() == set("MNSAThw")
    assert look.keys() == {"step", "probe_set", "sizes", "metrics"}


@pytest.mark.parametrize("run", ["png", "svg", "nan", "nan deep", "nan beside", "infinite"])
def test_images_that_are_no_jpegs_or_no_json_are_none(address, run) -> None:
    """Whatever their pictures are said to be: a browser might run them."""
    assert strict(fetch_when(address, "probe", bool, run=run, tag=MAPS)) is None


def test_images_and_all_that_is_known_of_them_are_handed_on(address) -> None:
    """And nothing else."""
    whole, extra = (strict(fetch_when(address, "probe", bool, run=run, tag=MAPS)) for run in ("whole", "extra"))
    assert whole["truths"] == [[0, 1], [1.5]]
    picture = fetch(address, "picture", run="whole", tag=MAPS, set="set", image=1)
    assert Image.open(io.BytesIO(picture)).size == (8, 8)
    names = {
        "probe_set",
        "fingerprints",
        "truths",
        "said",
        "class_names",
        "columns",
        "about",
        "indices",
        "areas",
        "unit",
        "scale",
        "task",
        "metrics",
        "renamed",
        "unknown",
    }
    assert (whole["unit"], whole["scale"]) == ("epoch", "image")
    assert whole.keys() == extra.keys() == names
    assert not whole["renamed"]


def test_what_cannot_be_read_is_counted_and_left_out(address) -> None:
    """Not JSON, empty, too short, of another version."""
    told, _ = looks(fetch(address, "looks", run="run", tag=MAPS))
    assert told["broken"] == 4
    assert [one["step"] for one in told["looks"]] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("route", "query", "code", "word"),
    [
        ("looks", {"run": "nowhere", "tag": MAPS}, 404, "nowhere"),
        ("looks", {"run": "run", "tag": "gradcam/../../etc/passwd"}, 404, "passwd"),
        ("looks", {"run": "run"}, 400, "'tag'"),
        ("looks", {"run": "run", "tag": MAPS, "count": "soon"}, 400, "soon"),
        ("maps", {"run": "nowhere", "tag": MAPS}, 404, "nowhere"),
        ("maps", {"run": "run", "tag": MAPS}, 400, "'start'"),
        ("maps", {"run": "run", "tag": MAPS, "start": 0, "count": 1, "known": 5, "mark": ""}, 409, "no longer"),
        ("maps", {"run": "run", "tag": MAPS, "start": -1, "count": 10**30, "known": 5, "mark": ""}, 409, "no longer"),
        ("picture", {"run": "run", "tag": MAPS, "set": "", "image": 0}, 404, "no image 0"),
        ("picture", {"run": "whole", "tag": MAPS, "set": "set", "image": -1}, 404, "no image -1"),
        ("picture", {"run": "png", "tag": MAPS, "set": "set", "image": 0}, 404, "no image 0"),
        ("probe", {}, 400, "'run'"),
        ("probe", {"run": "../run", "tag": MAPS}, 404, "../run"),
        ("probe", {"run": "run"}, 400, "'tag'"),
        ("index.html", {}, 404, ""),
        ("..%2f..%2fpyproject.toml", {}, 404, ""),
        ("static/style.css/../plugin.py", {}, 404, ""),
        ("static/..%2fplugin.py", {}, 404, "no such file"),
        ("static/nothing.js", {}, 404, "missing"),
    ],
)
def test_bad_requests_are_told_in_one_sentence(address, route, query, code, word) -> None:
    """400 or 404, no traceback, no other file."""
    with pytest.raises(urllib.error.HTTPError) as caught:
        fetch(address, route, **query)
    assert caught.value.code == code
    body = caught.value.read().decode()
    assert word in body
    assert "Traceback" not in body
    assert body.count("\n") == 0


def test_other_methods_are_refused(address) -> None:
    """Only GET is answered."""
    assert len(looks(fetch(address, "looks", run="run", tag=MAPS, count=10**30))[1]) == 5
    request = urllib.request.Request(f"{address}/data/plugin/gradcam/runs", data=b"{}", method="POST")
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request)
    assert caught.value.code == 400
    assert b"POST" in caught.value.read()


def test_tensorboard_starts_without_the_tabs_files(tmp_path, monkeypatch) -> None:
    """The static folder renamed: 404 with a sentence, and all else works."""
    write_run(tmp_path / "logs" / "run")
    copied = tmp_path / "site"
    shutil.copytree(Path(plugin_module.__file__).parents[1], copied / "lightning_gradcam")
    (copied / "lightning_gradcam" / "dashboard" / "static").rename(copied / "elsewhere")
    monkeypatch.setenv("PYTHONPATH", str(copied))
    with serving(tmp_path / "logs", "--load_fast=false") as url:
        with pytest.raises(urllib.error.HTTPError) as caught:
            fetch(url, "static/index.js")
        assert caught.value.code == 404
        assert b"missing from this installation" in caught.value.read()
        listing = json.loads(urllib.request.urlopen(f"{url}/data/plugins_listing").read())
    assert {"scalars", "images", "gradcam"} <= set(listing)


def test_tensorboard_starts_when_the_tab_cannot(tmp_path, monkeypatch) -> None:
    """A module that raises: the other tabs are there."""
    copied = tmp_path / "site"
    shutil.copytree(Path(plugin_module.__file__).parents[1], copied / "lightning_gradcam")
    (copied / "lightning_gradcam" / "dashboard" / "plugin.py").write_text("raise RuntimeError('broken on purpose')")
    monkeypatch.setenv("PYTHONPATH", str(copied))
    with serving(tmp_path, "--load_fast=false") as url:
        listing = json.loads(urllib.request.urlopen(f"{url}/data/plugins_listing").read())
    assert "gradcam" not in listing
    assert {"scalars", "images"} <= set(listing)


def test_the_loader_keeps_every_step_unless_told_otherwise() -> None:
    """A user's own number stays."""
    flags = SimpleNamespace(samples_per_plugin={"images": 3})
    AttentionLoader().fix_flags(flags)
    assert flags.samples_per_plugin == {"images": 3, "gradcam": 0}
    flags.samples_per_plugin["gradcam"] = 7
    AttentionLoader().fix_flags(flags)
    assert flags.samples_per_plugin["gradcam"] == 7


def test_the_tab_needs_neither_torch_nor_lightning() -> None:
    """TensorBoard imports it at every start."""
    code = (
        "import sys; from lightning_gradcam.dashboard.loader import AttentionLoader; "
        "import lightning_gradcam.dashboard.plugin; "
        "print({'torch', 'pytorch_lightning', 'PIL', 'matplotlib'} & set(sys.modules))"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "set()"


def test_a_look_is_read_once() -> None:
    """What is written behind it leaves it as it was read; what takes its step is read."""
    first, second, other = ((step, written, look_record()) for step, written in ((0, 1.0), (1, 2.0), (1, 3.0)))
    earlier = unpacking.Series.of([first, second])
    later = unpacking.Series.of([first, second, other], earlier)
    assert later.looks[0] is earlier.looks[0]
    assert [(look.step, look.written) for look in later.looks] == [(0, 1.0), (1, 3.0)]
    assert earlier.mark(1) == later.mark(1)


@pytest.mark.parametrize(
    ("metrics", "handed_on"),
    [
        ({"focus": dict.fromkeys(("says", "direction", "chance", "failing"), "a")}, ["focus"]),
        ({"focus": {}}, []),
        ({"focus": {"says": "a"}}, []),
        ({"focus": {"says": 1, "direction": "a", "chance": "a", "failing": "a"}}, []),
        ({"focus": "says"}, []),
        (["focus"], []),
        (None, []),
    ],
)
def test_what_is_said_of_numbers_is_words_or_nothing(metrics, handed_on) -> None:
    """All four sentences of each."""
    assert list(unpacking.words_of(metrics)) == handed_on
