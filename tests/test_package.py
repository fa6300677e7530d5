"""The public face."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import lightning_gradcam


def test_importing_the_package_imports_no_torch() -> None:
    """TensorBoard imports the package, and must not wait for torch."""
    code = "import lightning_gradcam, lightning_gradcam.logs.unpacking, sys; print('torch' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "False"


def test_public_names_load_on_first_use() -> None:
    """The function `explain` is found also after its module was imported."""
    code = (
        "import lightning_gradcam.explanation\n"
        "from lightning_gradcam import *\n"
        "print(explain.__name__, Explanation.__name__, GradCAMCallback.__name__)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["explain", "Explanation", "GradCAMCallback"]


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    """An AttributeError that helps."""
    with pytest.raises(AttributeError, match="GradCAMCallback"):
        _ = lightning_gradcam.GradCam


def test_the_readme_says_of_each_number_what_the_tab_says() -> None:
    """All sentences of all numbers, a row each."""
    from lightning_gradcam.timeline.metrics import METRICS

    readme = (Path(__file__).parents[1] / "README.md").read_text()
    rows = [f"| `{name}` | {' | '.join(metric.words.values())} |" for name, metric in METRICS.items()]
    assert "\n".join(rows) in readme


def test_the_lowest_versions_that_are_tried_are_those_declared() -> None:
    """What `.ci/lowest` installs is what pyproject.toml allows."""
    root = Path(__file__).parents[1]
    text = (root / "pyproject.toml").read_text()
    text = re.sub(r"^(bench|clients) = \[.*?^\]", "", text, flags=re.MULTILINE | re.DOTALL)  # not tried
    declared = dict(re.findall(r'^ *"([\w-]+)(?:\[\w+\])?>=([\d.]+)",', text, re.MULTILINE))
    tried = dict(re.findall(r"^([\w-]+)==([\d.]+)$", (root / "tests" / "lowest.txt").read_text(), re.MULTILINE))
    assert {name: version.split(".") for name, version in declared.items() if name != "setuptools"} == {
        name: version.split(".")[: len(declared.get(name, "").split("."))] for name, version in tried.items()
    }
