"""A small audit with a report to make of it, and a reader of the page's data."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np

from analysis.report import main
from interp.files import write_text
from interp.projections import Column
from tests.analysis.synthetic import Synthetic

TRAITS = ("calm", "flattery", "pep")
LAYERS = (2, 4)
PLANTED: dict[str, str | None] = {"ada": "flattery", "bob": "pep", "sham_1": None}
IDS = tuple(f"p{i}" for i in range(6))
WORDS = ("Yes", ",", " it", " is", " so", ".", " Good", " day", "!")
COLUMNS: tuple[Column, ...] = tuple((trait, "mean_difference", layer) for trait in TRAITS for layer in LAYERS)

Scores = dict[str, dict[Column, list[float]]]
"""Prompt id to column to a score per token."""


def write_audit(audit: Synthetic) -> dict[str, tuple[Scores, Scores]]:
    """Two organisms and a sham, each far along its own trait on p0 … p2; both readings of each author."""
    draw = np.random.default_rng(0)
    audit.write_config(PLANTED, ["set"], LAYERS)
    audit.write_prompts("set", IDS)
    for trait in TRAITS:
        audit.write_vector(trait, LAYERS, (0.7, 0.9))
    readings = {}
    for author, truth in PLANTED.items():
        own, clean = Scores(), Scores()
        for number, prompt_id in enumerate(IDS):
            tokens = WORDS[: 4 + number % 5]
            audit.write_response(author, "set", prompt_id, tokens)
            clean[prompt_id] = {column: draw.normal(size=len(tokens)).round(3).tolist() for column in COLUMNS}
            own[prompt_id] = {
                column: [value + draw.normal() / 4 + 3 * (column[0] == truth and number < 3) for value in values]
                for column, values in clean[prompt_id].items()
            }
        audit.write_pair(author, "set", own, clean)
        readings[author] = own, clean
    write_entries(audit, {(author, trait): 4.0 * (trait == PLANTED[author]) for author in PLANTED for trait in TRAITS})
    return readings


def write_entries(
    audit: Synthetic,
    effects: Mapping[tuple[str, str], float],
    more: Mapping[str, Sequence[object]] | None = None,
    lacking: Sequence[str] = (),
) -> None:
    """A differences.csv as compare_readers writes it, by hand; `more` columns, or some `lacking`."""
    rows: list[dict[str, object]] = []
    for (author, trait), effect in effects.items():
        for layer in LAYERS:
            value = effect + layer / 10
            rows.append({"author": author, "trait": trait, "method": "mean_difference", "layer": layer, "n_prompts": 6,
                         "mean": value, "mean_low": value - 0.5, "mean_high": value + 0.5,
                         "effect": value, "z_others": "nan"})  # fmt: skip
    for name, values in (more or {}).items():
        for row, cell in zip(rows, values, strict=True):
            row[name] = cell
    write_csv(audit.paths.analysis / "compare_readers" / "differences.csv", rows, lacking)


def write_csv(path: Path, rows: Sequence[Mapping[str, object]], lacking: Sequence[str] = ()) -> None:
    buffer = io.StringIO()
    names = [name for name in rows[0] if name not in lacking]
    writer = csv.DictWriter(buffer, names, lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, buffer.getvalue())


def report(audit: Synthetic, *flags: str) -> Path:
    """The report, made."""
    assert main(["--experiment", audit.name, "--root", str(audit.root), *flags]) == 0
    return audit.paths.analysis / "report.html"


class Page(HTMLParser):
    """The elements of a report as an HTML parser meets them."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self.style = ""
        self.policy = ""
        self._inside: str | None = None
        self.feed(path.read_text(encoding="utf-8"))
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self._inside = tag
        if tag == "script":
            self.scripts.append((dict(attrs), ""))
        if tag == "meta" and dict(attrs).get("http-equiv") == "Content-Security-Policy":
            self.policy = str(dict(attrs)["content"])

    def handle_endtag(self, tag: str) -> None:
        self._inside = None

    def handle_data(self, data: str) -> None:
        if self._inside == "script":
            attributes, text = self.scripts[-1]
            self.scripts[-1] = attributes, text + data
        if self._inside == "style":
            self.style += data

    @property
    def data(self) -> dict[str, Any]:
        """What the page says at once."""
        (text,) = [text for attributes, text in self.scripts if attributes.get("id") == "data"]
        found: dict[str, Any] = json.loads(text)
        return found

    @property
    def details(self) -> dict[str, Any]:
        """What can be read token by token, by author."""
        return {
            str(attributes["data-author"]): json.loads(text)
            for attributes, text in self.scripts
            if attributes.get("class") == "details"
        }

    @property
    def code(self) -> str:
        (text,) = [text for attributes, text in self.scripts if not attributes]
        return text

    def entries(self) -> list[dict[str, Any]]:
        """The table of entries, a dictionary a row."""
        columns = {
            column["name"]: column.get("values") or [column["names"][place] for place in column["places"]]
            for column in self.data["entries"]
        }
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
