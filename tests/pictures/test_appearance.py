"""Images as people see them: channels, normalising, and what white is."""

import re

import numpy as np
import pytest

from lightning_gradcam.pictures.appearance import Appearance

RNG = np.random.default_rng(0)


def test_normalising_is_undone() -> None:
    """x * std + mean, in 0..255."""
    original = RNG.random((2, 3, 4, 4), dtype=np.float32)
    mean, std = np.float32([0.4, 0.5, 0.6]), np.float32([0.2, 0.3, 0.4])
    normalised = (original - mean[:, None, None]) / std[:, None, None]
    pictures = Appearance(mean.tolist(), std.tolist()).pictures(normalised)
    assert np.abs(pictures[1] - (original[1] * 255).round().transpose(1, 2, 0)).max() <= 1


@pytest.mark.parametrize(
    ("mean", "std"), [((123.675, 116.28, 103.53), (58.395, 57.12, 57.375)), (0.0, 255.0), (127.5, 127.5)]
)
def test_of_pixels(mean, std) -> None:
    """Images of 0..255 are undone to these."""
    original = RNG.integers(0, 256, (2, 3, 8, 8)).astype(np.float32)
    shift, scale = (np.resize(np.float32(one), 3)[:, None, None] for one in (mean, std))
    pictures = Appearance(mean, std).pictures((original - shift) / scale)
    assert np.abs(pictures[0] - original[0].transpose(1, 2, 0)).max() <= 1


@pytest.mark.parametrize(
    ("mean", "std", "low", "high"), [(1100.0, 400.0, 0.0, 9000.0), (-12.6, 5.3, -30.0, 5.0), (2.7, 1.3, 0.0, 10.0)]
)
def test_of_other_units(mean, std, low, high) -> None:
    """Reflectances, decibels and metres have no white: from the 2nd to the 98th percentile of each image."""
    original = RNG.uniform(low, high, (2, 3, 32, 32)).astype(np.float32)
    original[0, 0, 0, 0] = 50 * high
    pictures = Appearance(mean, std).pictures((original - mean) / std)
    lowest, highest = np.percentile(original[0], (2, 98))
    expected = ((original[0] - lowest) / (highest - lowest)).clip(0, 1) * 255
    assert np.abs(pictures[0] - expected.transpose(1, 2, 0)).max() <= 1.01
    assert pictures[0][0, 0, 0] == 255


def test_without_statistics_each_image_is_stretched() -> None:
    """From its darkest to its brightest value; a constant one is black, not noise."""
    images = np.stack([np.linspace(-3, 5, 48).reshape(3, 4, 4), np.full((3, 4, 4), 7.0)])
    first, second = Appearance().pictures(images)
    assert (first.min(), first.max()) == (0, 255)
    assert second.max() == 0


@pytest.mark.parametrize(
    ("count", "channels", "shown"),
    [
        (1, None, [0, 0, 0]),
        (2, None, [0, 0, 0]),
        (3, None, [0, 1, 2]),
        (7, None, [0, 1, 2]),
        (3, (2, 1, 0), [2, 1, 0]),
        (13, [3, 2, 1], [3, 2, 1]),
        (13, 8, [8, 8, 8]),
        (2, [1], [1, 1, 1]),
        (5, (4, 4, 0), [4, 4, 0]),
    ],
)
def test_channels(count, channels, shown) -> None:
    """One is gray; whole numbers are pixel values."""
    image = np.arange(count, dtype=np.uint8)[None, :, None, None] * np.ones((1, 1, 2, 2), np.uint8)
    appearance = Appearance(channels=channels)
    appearance.check_fits(count)
    assert appearance.pictures(image)[0][0, 0].tolist() == shown


def test_statistics_are_of_the_models_channels() -> None:
    """Channel 2 is undone with the third of the numbers wherever it is shown."""
    original = RNG.random((1, 4, 3, 3), dtype=np.float32)
    mean, std = [0.1, 0.2, 0.3, 0.4], [0.5, 0.6, 0.7, 0.8]
    normalised = (original - np.float32(mean)[:, None, None]) / np.float32(std)[:, None, None]
    (picture,) = Appearance(mean, std, (2, 0, 3)).pictures(normalised)
    assert np.abs(picture / 255 - original[0, [2, 0, 3]].transpose(1, 2, 0)).max() < 0.003


def test_numbers_that_are_none() -> None:
    """NaN and infinite pixels are black, and take no other with them: the rest is stretched as without them."""
    image = np.linspace(5, 6, 48, dtype=np.float32).reshape(1, 3, 4, 4)
    image[0, 0, 0, :2] = np.nan, np.inf
    (picture,) = Appearance().pictures(image)
    assert picture[0, 0, 0] == picture[0, 1, 0] == 0
    assert picture[0, 2, 0] == 0
    assert picture[3, 3, 2] == 255
    assert 110 < picture[2, 0, 1] < 145
    assert Appearance().pictures(np.full((1, 1, 2, 2), np.nan, np.float32))[0].max() == 0


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([0, 255, 100], np.uint8), [0, 255, 100]),
        (np.array([0, 1, 1], np.int64), [0, 1, 1]),
        (np.array([0, 4000, 2000], np.int16), [0, 255, 128]),
        (np.array([-1000, 3000, 1000], np.int32), [0, 255, 128]),
        (np.array([0, 65535, 13107], np.uint16), [0, 255, 51]),
    ],
)
def test_whole_numbers(values, expected) -> None:
    """Of 0..255 they are pixels; others, as CT has them and cameras of 16 bits, are stretched."""
    image = np.broadcast_to(values[None, None, None], (1, 1, 2, 3))
    assert Appearance().pictures(image)[0][0, :, 0].tolist() == expected


def test_a_mean_and_a_std_that_are_not_the_images(caplog) -> None:
    """Where most of the pictures would be black or white it is said, with the numbers."""
    Appearance(0.45, 0.23).pictures(RNG.uniform(0, 255, (2, 3, 8, 8)).astype(np.float32))
    assert re.search(
        r"mean=0.45, std=0.23: with these 9\d % of the pixels are darker than black or brighter", caplog.text
    )
    caplog.clear()
    Appearance(0.45, 0.23).pictures((RNG.random((2, 3, 8, 8), np.float32) - 0.45) / 0.23)
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("mean", "std"),
    [(0.5, None), ([], []), ("a", "b"), ([0.5], [0.0]), (0.5, -1), (10**400, 1.0), (float("nan"), 1.0), (True, 1.0)],
)
def test_bad_statistics_are_refused(mean, std) -> None:
    """By name."""
    with pytest.raises((ValueError, TypeError), match=r"mean|std"):
        Appearance(mean, std)


@pytest.mark.parametrize("channels", [(0, 1), -1, (0, 1, -2), (), "rgb", (0.0, 1.0, 2.0), True, (0, 1, 2, 3)])
def test_bad_channels_are_refused(channels) -> None:
    """By name, with what is accepted."""
    with pytest.raises((ValueError, TypeError), match=r"channels=.*accepted are the three .* or the one that is gray"):
        Appearance(channels=channels)


@pytest.mark.parametrize(
    ("appearance", "words"),
    [
        (Appearance(channels=(3, 2, 1)), r"channels=\(3, 2, 1\): the images have no channel 3; they have 3 \(0 to 2\)"),
        (Appearance([0.1, 0.2], 1.0), "mean has 2 numbers; the images have 3 channels"),
    ],
)
def test_what_does_not_fit_is_refused(appearance, words) -> None:
    with pytest.raises(ValueError, match=words):
        appearance.check_fits(3)
