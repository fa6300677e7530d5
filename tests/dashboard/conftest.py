"""A real Chromium, and the Attention tab in it."""

import os
import shutil
from collections.abc import Iterator

import numpy as np
import pytest
from playwright.sync_api import Browser, FrameLocator, Locator, Page, expect, sync_playwright

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run", "--disable-sync"]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A Chromium of this machine; where there is none, that is told, and in CI a failure."""
    if not CHROMIUM:
        told = "the tab's tests need a Chromium on the PATH (Debian: apt-get install chromium)"
        pytest.fail(told) if os.environ.get("CI") else pytest.skip(told)
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield started
        started.close()


class Tab:
    """A page on the Attention tab."""

    def __init__(self, page: Page, url: str, address: str = "") -> None:
        self.page = page
        self.faults: list[str] = []
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        page.goto(f"{url}/{address or '#gradcam'}")
        self.frame: FrameLocator = page.frame_locator("iframe")

    def canvas(self, tile: int = 0, column: int = 0) -> np.ndarray:
        """A canvas's pixels, (H, W, 3), once its map is there."""
        found = self.whole(tile).locator(f"canvas >> nth={column}")
        data, width, height = found.evaluate(
            "c => [[...c.getContext('2d').getImageData(0, 0, c.width, c.height).data], c.width, c.height]"
        )
        return np.array(data).reshape(height, width, 4)[..., :3]

    def whole(self, tile: int) -> Locator:
        """A tile, in sight, whose maps are there."""
        found = self.frame.locator(f".tile[data-image='{tile}']")
        found.scroll_into_view_if_needed()
        expect(found.locator("canvas >> nth=0")).not_to_have_attribute("width", "0")
        expect(found).not_to_have_attribute("data-coming", "")
        return found

    def pixel(self, y: int, x: int, tile: int = 0) -> list[int]:
        """One pixel of a canvas: R, G, B."""
        found = self.whole(tile).locator("canvas >> nth=0")
        return found.evaluate("(c, [y, x]) => [...c.getContext('2d').getImageData(x, y, 1, 1).data]", [y, x])[:3]

    def hottest(self, tile: int = 0, side: int = 4) -> tuple[int, int]:
        """The place of a side x side map where the canvas is reddest."""
        pixels = self.canvas(tile)
        red = pixels[..., 0] - pixels[..., 2]
        y, x = np.unravel_index(red.argmax(), red.shape)
        return int(y * side / len(red)), int(x * side / len(red))

    def places(self) -> list[int]:
        """Where each image's tile stands, the first image's first."""
        order = self.frame.locator(".tile").evaluate_all("tiles => tiles.map(tile => Number(tile.dataset.image))")
        return [order.index(image) for image in range(len(order))]

    def slide(self, name: str, value: int) -> None:
        self.frame.locator(f"#{name}").evaluate(f"e => {{ e.value = {value}; e.dispatchEvent(new Event('input')) }}")

    def choose(self, name: str, value: str) -> None:
        """Choose in a select, unfolding what it is in."""
        select = self.frame.locator(f"#{name}")
        select.evaluate(
            "e => { for (let up = e; up; up = up.parentElement) if (up.tagName === 'DETAILS') up.open = true }"
        )
        select.select_option(value)


@pytest.fixture
def open_tab(browser) -> Iterator:
    pages = []

    def open_(url: str, address: str = "") -> Tab:
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        pages.append(page)
        tab = Tab(page, url, address)
        tabs.append(tab)
        return tab

    tabs: list[Tab] = []
    yield open_
    for page in pages:
        page.close()
    assert [fault for tab in tabs for fault in tab.faults] == []
