"""The tab's pure modules, imported by a real Chromium: values against NumPy, Pillow and closed forms."""

import base64
import io
from collections.abc import Callable, Iterator
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib import colormaps
from PIL import Image

from lightning_gradcam.cam.areas import resampled
from lightning_gradcam.pictures.render import overlay

from .test_plugin import serving

Asked = Callable[..., Any]


@pytest.fixture(scope="module")
def asked(browser, tmp_path_factory) -> Iterator[Asked]:
    """Evaluate an expression with the names of a module: `asked(module, expression, arguments)`."""
    with serving(tmp_path_factory.mktemp("none")) as url:
        page = browser.new_page()
        page.goto(f"{url}/data/plugin/gradcam/runs")

        def ask(module: str, expression: str, given: object = None) -> Any:
            return page.evaluate(
                f"async (given) => {{ const m = await import('{url}/data/plugin/gradcam/static/{module}.js'); "
                f"return ({expression}); }}",
                given,
            )

        yield ask
        page.close()


def of_map(array: np.ndarray) -> dict[str, Any]:
    return {"values": array.ravel().tolist(), "h": array.shape[0], "w": array.shape[1], "share": None}


def test_a_share_in_a_box_is_of_exact_areas(asked) -> None:
    """As `in_mask` resamples a mask of the same box; all of it is 1, and of no heat there is none."""
    import torch

    generator = np.random.default_rng(0)
    heat = generator.random((5, 7)).round(3)
    mask = torch.zeros(1, 1, 50, 70, dtype=torch.bool)
    mask[..., 12:33, 7:44] = True
    weights = resampled(mask, (5, 7))[0, 0].numpy()
    found = asked(
        "measure", "m.shareIn(given.map, given.box)", {"map": of_map(heat), "box": [0.1, 0.24, 44 / 70, 0.66]}
    )
    assert found == pytest.approx((heat * weights).sum() / heat.sum(), abs=1e-6)
    assert asked("measure", "m.shareIn(given, [0, 0, 1, 1])", of_map(heat)) == pytest.approx(1)
    assert asked("measure", "m.shareIn(given, [0, 0, 1, 1])", of_map(heat * 0)) is None


@pytest.mark.parametrize(
    ("text", "box"),
    [("0,0.25,0.5,1", [0, 0.25, 0.5, 1]), ("", None), ("0,0,0,1", None), ("0,0,1,2", None), ("a,b,c,d", None)],
)
def test_a_box_in_an_address(asked, text, box) -> None:
    """Four parts of the sides, or none."""
    assert asked("measure", "m.boxOf(given)", text) == box


def test_how_alike_two_maps_are(asked) -> None:
    """The cosine; on the finer one's places where they have others; none where one is blank."""
    generator = np.random.default_rng(1)
    one, other = generator.integers(0, 256, (2, 4, 4))
    cosine = (one * other).sum() / np.linalg.norm(one) / np.linalg.norm(other)
    pair = [of_map(one), of_map(other)]
    assert asked("measure", "m.cosine(...given)", pair) == pytest.approx(cosine, abs=1e-6)
    flat = of_map(np.ones((2, 2)))
    assert asked("measure", "m.cosine(...given)", [flat, of_map(np.ones((4, 4)))]) == pytest.approx(1)
    assert asked("measure", "m.cosine(...given)", [flat, of_map(np.zeros((2, 2)))]) is None
    assert asked("measure", "m.cosine(given, null)", flat) is None


def test_a_map_is_enlarged_as_pillow_does(asked) -> None:
    """Bilinearly between the places' middles."""
    heat = np.random.default_rng(2).random((4, 6)).astype(np.float32)
    found = np.array(asked("measure", "[...m.enlarged(given, 16, 24)]", of_map(heat))).reshape(16, 24)
    expected = np.asarray(Image.fromarray(heat).resize((24, 16), Image.Resampling.BILINEAR))
    assert np.abs(found - expected).max() < 1e-5


def test_means_flips_and_peaks(asked) -> None:
    """What has no number counts for none of it."""
    assert asked("measure", "m.meanOf([1, null, 3])") == 2
    assert asked("measure", "m.meanOf([null])") is None
    looks = "[[0, 1], [1, 1], [1, 0], [1, 0]].map((wrong) => ({wrong, shape: [2, 1, 1, 1]}))"
    assert asked("measure", f"m.flipsOf({looks}, [0, 1])") == [0, 1, 1, 0]
    assert asked("measure", "m.peakOf([null, 2, 5, 5, 1])") == 2
    assert asked("measure", "m.peakOf([null])") == -1
    maps = [of_map(np.array([[0, 100], [50, 200]])), of_map(np.array([[100, 100], [0, 0]]))]
    drawn = [127.5, (127.5 + 255) / 2, 63.75 / 2, 127.5]  # each by itself, from its least to its most
    assert asked("measure", "[...m.meanMap(given).values]", maps) == pytest.approx(drawn)
    shares = "given.map((map) => ({...map, share: 0.5}))"  # or of a peak that is twice as high
    assert asked("measure", f"[...m.meanMap({shares}).values]", maps) == [25, 50, 12.5, 50]
    assert asked("measure", "m.meanMap([])") is None


@pytest.mark.parametrize(
    ("values", "bounds"),
    [
        ([2, None, 5], [2, 5]),
        ([0.5], [0, 1]),
        ([0.99999994, 1.0000001], [0, 1]),  # alike in float32
        ([3, 3], [2.5, 3.5]),
        ([0, 1e-9], [0, 1e-9]),
        ([None], [0, 1]),
    ],
)
def test_bounds_that_numbers_are_drawn_between(asked, values, bounds) -> None:
    """From the lowest to the highest, unless they are alike."""
    assert asked("measure", "m.extent(given)", values) == bounds


@pytest.mark.parametrize(
    ("bounds", "most", "ticks"),
    [
        ([0, 1], 4, [0, 0.5, 1]),
        ([0.1, 0.32], 5, [0.1, 0.15, 0.2, 0.25, 0.3]),
        ([0, 999], 4, [0, 500]),
        ([3, 3], 4, [3]),
    ],
)
def test_ticks_are_round(asked, bounds, most, ticks) -> None:
    """And within."""
    assert asked("measure", "m.ticksIn(given, arguments)".replace("arguments", str(most)), bounds) == ticks


def test_numbers_in_words(asked) -> None:
    """To three digits, or as few as tell them apart."""
    assert asked("measure", "[0, 0.12345, 1234.5, 1e-7, -2].map((one) => m.round(one))") == [
        *("0", "0.123", "1.23e+3", "1e-7", "-2")
    ]
    assert asked("measure", "m.toldApart([0.12341, 0.12342])") == ["0.12341", "0.12342"]


@pytest.mark.parametrize("name", ["plasma", "inferno", "viridis"])
def test_colour_scales_are_matplotlibs(asked, name) -> None:
    """17 of its colours joined by straight lines; and each only gets brighter."""
    found = np.array(asked("colour", f"[...Array(256).keys()].map((level) => m.colourAt('{name}', level / 255))"))
    assert np.abs(found / 255 - colormaps[name](np.linspace(0, 1, 256))[:, :3]).max() < 0.03
    assert (np.diff(found @ [0.2126, 0.7152, 0.0722]) > -0.6).all()


def test_heat_is_laid_over_as_in_the_logged_pictures(asked) -> None:
    """At the opacity that the tab begins with, at each level."""
    words = np.array(asked("colour", "[...m.heatPalette('plasma', 0.8)]"), np.uint32)
    parts = words[:, None] >> np.array([0, 8, 16, 24]) & 255
    alpha = parts[:, 3:] / 255
    shown = 100 * (1 - alpha) + parts[:, :3] * alpha
    logged = overlay(np.full((1, 256, 3), 100, np.uint8), np.linspace(0, 1, 256)[None])[0]
    assert np.abs(shown - logged).max() < 5
    assert asked("address", "m.DEFAULTS.opacity") == 80


def test_no_change_leaves_the_picture(asked) -> None:
    """And less and more are other colours."""
    words = asked("colour", "[...m.changePalette(1)]")
    assert words[127] >> 24 <= 4
    assert words[128] >> 24 <= 4
    assert (words[0] >> 16 & 255, words[255] & 255) == (255, 255)  # all blue, all red in orange


def test_views_in_an_address(asked) -> None:
    """There and back, whatever names have in them; what makes no sense is left out."""
    views = [{"step": 20}, {"run": "a;b&c=d/é", "layer": "gradcam/x/maps"}, {"target": 3, "step": 0}]
    assert asked("views", "m.readBeside(m.writeBeside(given))", views) == views
    assert asked("views", "m.readBeside('step=-1&run=x;target=1e9;__proto__=1;;step=2')") == [
        *({"run": "x"}, {}, {}, {"step": 2})
    ]
    assert asked("views", "m.readBeside('step=1;'.repeat(50)).length") == asked("views", "m.MOST")


def test_addresses_there_and_back(asked) -> None:
    """Of every kind; what is another dashboard's stays."""
    state = asked("address", "({...m.DEFAULTS, run: 'a&b', step: 4, beside: 'step=1', box: '0,0,1,1', pins: '1,2'})")
    text = asked("address", "m.addressOf(given, 'gradcam&tagFilter=x&p.gradcam.run=old')", state)
    assert text.startswith("#gradcam&tagFilter=x&p.gradcam.run=a%26b&")
    assert asked("address", "m.readAddress(given.slice(1))", text) == state
    assert asked("address", "m.readAddress('p.gradcam.toString=1&p.gradcam.group=constructor').group") == ""


def test_runs_that_match(asked) -> None:
    """By a word or a pattern, in either case."""
    names = ["runs/A1", "runs/b2"]
    for text, found in (
        ("", names),
        ("a1", names[:1]),
        ("/[ab]\\d$/", names),
        ("/^a/", []),
        ("/(", names),
        ("/(/", names),
    ):
        assert asked("choosing", "m.matching(given.names, given.text)", {"names": names, "text": text}) == found


def test_stills_become_a_film(asked) -> None:
    """Of lossy pictures with and without transparency and of lossless ones: Pillow reads each frame as it was."""
    shades = [(255, 0, 0, 255), (0, 255, 0, 128), (0, 0, 255, 255)]
    stills = []
    for at, shade in enumerate(shades):
        buffer = io.BytesIO()
        Image.new("RGBA", (33, 20), shade).save(buffer, "WEBP", lossless=at == 2, quality=90)
        stills.append(list(buffer.getvalue()))
    expression = "btoa(String.fromCharCode(...m.animated(given.map((one) => new Uint8Array(one)), 70)))"
    file = base64.b64decode(asked("webp", expression, stills))
    with Image.open(io.BytesIO(file)) as film:
        assert (film.size, film.n_frames, film.info["loop"]) == ((33, 20), 3, 0)
        for at, shade in enumerate(shades):
            film.seek(at)
            assert np.abs(np.asarray(film.convert("RGBA"))[10, 16].astype(int) - shade).max() <= 6
            assert film.info["duration"] == 70


def test_a_sheet_is_well_formed_whatever_its_words(asked) -> None:
    """Letters that XML has none for are replaced; words are broken, and none is lost."""
    words = "one two three four five six " + "x" * 80
    expression = (
        "new XMLSerializer().serializeToString(m.sheet(['a\\u0001\\ud800<b>&'], [[{canvas: Object.assign("
        f"document.createElement('canvas'), {{width: 90, height: 9}}), words: ['{words}'], wrong: true}}]], []))"
    )
    root = ElementTree.fromstring(asked("export", expression))
    lines = [text.text for text in root.iter("{http://www.w3.org/2000/svg}text")]
    assert lines[0] == "a\ufffd\ufffd<b>&"
    assert "".join(lines[1:]).replace(" ", "") == words.replace(" ", "")
    assert len(lines) > 6
    assert float(root.get("height")) > 17 * len(lines)


def test_looks_are_taken_apart_as_the_answer_lays_them_out(asked) -> None:
    """Into arrays, numbers by name, and words that are read when they are asked for."""
    told = {
        "fields": [["numbers", "<f4", "MNT"], ["wrong", "|u1", "N"], ["answers", "|u1", "A"]],
        "looks": [{"step": 3, "sizes": {"M": 2, "N": 2, "T": 1, "A": 9, "h": 1, "w": 1}, "metrics": ["a", "b"]}],
    }
    data = np.float32([1, 2, 3, np.nan]).tobytes() + bytes([0, 1]) + b'["x","y"]'
    found = asked(
        "source",
        "m.readLooks(given.told, new Uint8Array(given.data)).map((look) => "
        "[look.step, look.shape, [...look.numbers.get('b')], [...look.wrong], look.answers, look.maps])",
        {"told": told, "data": list(data)},
    )
    [step, shape, b, wrong, answers, maps] = found[0]
    assert (step, shape, wrong, answers, maps) == (3, [2, 1, 1, 1], [0, 1], ["x", "y"], None)
    assert b[0] == 3
    assert np.isnan(b[1])
