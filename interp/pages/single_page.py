"""One HTML file that needs nothing else: style, script and data inside, and nothing that a model wrote is ever run.

Data goes in as JSON with every `<` escaped, and the script makes text nodes of it. The Content-Security-Policy lets
just this script and this style in (by their hashes), and no request out.
"""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

SHARED = Path(__file__).resolve().parent
TEMPLATE = SHARED / "page.html.j2"
BASE_STYLE = SHARED / "base.css"


def shared_script(name: str) -> Path:
    """A part of the script that several pages use: `dom`, `table`, `grid` or `scales`."""
    return SHARED / f"{name}.js"


def render(
    title: str, styles: Sequence[Path], scripts: Sequence[Path], data: Mapping[str, Any],
    details: Mapping[str, Any] | None = None,
) -> str:  # fmt: skip
    """The page: `styles` and `scripts` joined in their order, `data` for the script.

    `details` (by author) stand apart, so that the script parses only those that are looked at.
    """
    import jinja2

    style = "".join(path.read_text(encoding="utf-8") for path in styles)
    script = "\n".join(['"use strict";', *(path.read_text(encoding="utf-8") for path in scripts)])
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, keep_trailing_newline=True)
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    return template.render(
        title=title,
        policy=policy(script, style),
        style=style,
        script=script,
        data=as_script_data(data),
        details={author: as_script_data(of_author) for author, of_author in (details or {}).items()},
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
