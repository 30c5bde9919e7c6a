"""One HTML file that needs nothing else: style, script and data inside, and nothing that a model wrote is ever run.

Data goes in as JSON with every `<` escaped, and the script makes text nodes of it. The Content-Security-Policy lets
just this script and this style in (by their hashes), and no request out.
"""

import base64
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PAGE = Path(__file__).resolve().parent / "report_page"
SCRIPTS = ("dom", "numbers", "table", "heatmap", "charts", "tokens", "organism", "controls", "run", "main")
"""The page's script, in the order in which its parts are joined."""


def page_files() -> list[Path]:
    """The parts of the page."""
    return [PAGE / "page.html.j2", PAGE / "style.css", *(PAGE / f"{name}.js" for name in SCRIPTS)]


def render(title: str, data: Mapping[str, Any], details: Mapping[str, Any]) -> str:
    """The page; `details` (by author) are parsed only when they are looked at."""
    import jinja2

    style = (PAGE / "style.css").read_text(encoding="utf-8")
    parts = [(PAGE / f"{name}.js").read_text(encoding="utf-8") for name in SCRIPTS]
    script = "\n".join(['"use strict";', *parts])
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, keep_trailing_newline=True)
    template = environment.from_string((PAGE / "page.html.j2").read_text(encoding="utf-8"))
    return template.render(
        title=title,
        policy=policy(script, style),
        style=style,
        script=script,
        data=as_script_data(data),
        details={author: as_script_data(of_author) for author, of_author in details.items()},
    )


def policy(script: str, style: str) -> str:
    """Nothing from anywhere, but for this script and this style."""
    return (
        f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(style)}'; "
        "base-uri 'none'; form-action 'none'"
    )


def as_script_data(value: object) -> str:
    """JSON that cannot end the element it stands in: `<` is written as its escape."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c")


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
