"""The audit's report as one HTML file: its own parts, and those that all pages share (`interp.pages`)."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from interp.pages import single_page
from interp.pages.single_page import BASE_STYLE, TEMPLATE, shared_script

PAGE = Path(__file__).resolve().parent / "report_page"
SCRIPTS = ("numbers", "heatmap", "charts", "tokens", "organism", "controls", "run", "main")
"""The page's own script, in the order in which its parts are joined."""


def page_files() -> list[Path]:
    """The parts of the page."""
    return [TEMPLATE, *_styles(), *_scripts()]


def render(title: str, data: Mapping[str, Any], details: Mapping[str, Any]) -> str:
    """The page; `details` (by author) are parsed only when they are looked at."""
    return single_page.render(title, _styles(), _scripts(), data, details)


def _styles() -> list[Path]:
    return [BASE_STYLE, PAGE / "style.css"]


def _scripts() -> list[Path]:
    shared = [shared_script(name) for name in ("dom", "table", "grid", "scales")]
    return [*shared, *(PAGE / f"{name}.js" for name in SCRIPTS)]
