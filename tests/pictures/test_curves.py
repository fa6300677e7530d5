"""Means and their errors."""

import numpy as np
import pytest

from lightning_gradcam.pictures.curves import line_of


def test_of_one_target_the_error_is_that_of_a_mean() -> None:
    """As NumPy has it, over the images that have the number."""
    values = np.random.default_rng(0).random((3, 7, 1))
    values[1, 2:4] = np.nan
    line = line_of("run", np.arange(3), values)
    for place, row in enumerate(values[..., 0]):
        there = row[np.isfinite(row)]
        assert line.mean[place] == pytest.approx(there.mean())
        assert line.error[place] == pytest.approx(there.std(ddof=1) / len(there) ** 0.5)


def test_targets_of_an_image_are_one_cluster() -> None:
    """By hand: sums 4, 5, 0 of 2, 1, 0 values: R = 3, and they are 2 and 2 from it; with n = 2, sqrt(2 * 8) / 3."""
    values = np.array([[[1, 3], [5, np.nan], [np.nan, np.nan]]])
    line = line_of("run", np.arange(1), values)
    assert line.mean.tolist() == [3]
    assert line.error.tolist() == [pytest.approx(4 / 3)]


def test_targets_that_are_all_alike_are_no_more_images() -> None:
    """Written twice, each has the same error as once."""
    values = np.random.default_rng(1).random((1, 5, 1))
    once, twice = (line_of("", np.arange(1), np.repeat(values, count, 2)).error[0] for count in (1, 2))
    assert once == pytest.approx(twice)


def test_of_one_image_and_of_none_there_is_no_error() -> None:
    """And of none no mean."""
    values = np.array([[[1.0, 2.0], [np.nan, np.nan]], [[np.nan] * 2] * 2])
    line = line_of("", np.arange(2), values)
    assert np.isnan(line.error).tolist() == [True, True]
    assert line.mean[0] == 1.5
    assert np.isnan(line.mean[1])
