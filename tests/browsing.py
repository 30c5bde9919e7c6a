"""Reports opened in a real browser: fixtures that a conftest imports, and what a tab said and asked for."""

import csv
import io
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Browser, Locator, sync_playwright
from playwright.sync_api import Page as Tab

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync"]  # fmt: skip


@pytest.fixture(scope="session")
def chromium() -> str:
    """Chromium's path; Debian's is installed where there is none."""
    names = ("chromium", "chromium-browser", "google-chrome")
    found = next(filter(None, map(shutil.which, names)), None)
    if found is None:
        if os.geteuid() != 0 or shutil.which("apt-get") is None:
            pytest.skip("needs Chromium: apt-get install chromium (not done here: not root, or no apt-get)")
        for command in (["update"], ["install", "-y", "--no-install-recommends", "chromium"]):
            subprocess.run(["apt-get", "-qq", *command], check=True, capture_output=True, timeout=600)
        found = shutil.which("chromium")
    assert found
    return found


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Browser]:
    """Chromium. Playwright's event loop runs as long as it does, and asyncio.run fails meanwhile: so for a module."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield browser
        browser.close()


@dataclass
class Opened:
    """A report in a tab, with all that it said and asked for."""

    tab: Tab
    path: Path
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def cell(self, **data: object) -> Locator:
        """The cell of a heat map that has these data attributes."""
        return self.tab.locator("td" + "".join(f'[data-{name}="{value}"]' for name, value in data.items()))

    def focused(self, *names: str) -> tuple[str, ...]:
        """Data attributes of what has the focus."""
        data = self.tab.evaluate("({ ...document.activeElement.dataset })")
        return tuple(str(data[name]) for name in names)

    def download(self, save: Locator) -> list[list[str]]:
        """The rows of the CSV that a button saves."""
        with self.tab.expect_download() as waiting:
            save.click()
        assert waiting.value.suggested_filename.endswith(".csv")
        return list(csv.reader(io.StringIO(Path(waiting.value.path()).read_text(encoding="utf-8"))))


Scheme = Literal["light", "dark"]
Open = Callable[..., Opened]


@pytest.fixture
def opening(browser: Browser) -> Iterator[Open]:
    """Opens reports; in the end nothing may have been complained of, or asked of the network."""
    opened: list[Opened] = []

    def open_report(path: Path, scheme: Scheme = "light", address: str = "") -> Opened:
        context = browser.new_context(color_scheme=scheme, viewport={"width": 1400, "height": 1000})
        here = Opened(context.new_page(), path)
        here.tab.on("console", lambda message: here.complaints.append(message.text))
        here.tab.on("pageerror", lambda error: here.complaints.append(str(error)))
        here.tab.on("dialog", lambda dialog: here.complaints.append(f"dialog: {dialog.message}"))
        here.tab.on("request", lambda request: here.requests.append(request.url))
        here.tab.goto(path.as_uri() + address)
        here.tab.wait_for_selector("body[data-ready]")
        opened.append(here)
        return here

    yield open_report
    for here in opened:
        assert here.complaints == []
        assert [url for url in here.requests if not url.startswith("blob:")] == [here.requests[0]]
        assert here.requests[0].startswith(here.path.as_uri())
        here.tab.context.close()


CONTRASTS = """() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const light = (colour) => {
    canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
    const [r, g, b] = [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3).map((each) => each / 255)
      .map((each) => (each <= 0.03928 ? each / 12.92 : ((each + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  return [...document.querySelectorAll(".tinted")].map((each) => {
    const style = getComputedStyle(each);
    const [a, b] = [light(style.color), light(style.backgroundColor)].sort();
    return (b + 0.05) / (a + 0.05);
  });
}"""
"""The contrast of text in every coloured cell and token, by WCAG; 4.5 is legible."""
