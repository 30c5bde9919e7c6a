"""What the report shows of the tables that other analyses wrote: columns by their names, whichever there are.

A table is sent as lists of one length, a list a column; text that repeats is sent once, with its place in each row.
"""

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from interp.errors import InputError

KEYS = ("author", "trait", "method", "layer")
"""What names a row of differences.csv; every other column is shown as what it is."""

ALL_LAYERS = "all"
"""Stands for the layer in rows that are about all of them together."""

LEADING = ("centred_effect", "effect", "top", "mean")
"""The statistic shown first: the first of these that every entry has; so the comparison itself chooses."""

DIGITS = 4
"""Significant digits of what is shown; the files hold more."""


@dataclass(frozen=True)
class Table:
    """A CSV file: a name per column, and its cells as text."""

    names: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def column(self, name: str) -> list[str]:
        place = self.names.index(name)
        return [row[place] for row in self.rows]

    def of_authors(self, authors: Sequence[str]) -> "Table":
        """Its rows of some authors."""
        place, known = self.names.index("author"), set(authors)
        return Table(self.names, tuple(row for row in self.rows if row[place] in known))

    def is_numeric(self, name: str) -> bool:
        """Whether every filled cell is a number (nan and inf count), and one at least is filled."""
        filled = [cell for cell in self.column(name) if cell]
        return bool(filled) and all(_is_number(cell) for cell in filled)


def read_csv(path: Path) -> Table:
    """A CSV file with a header line.

    Raises:
        InputError: it has no header, or a row of another length.
    """
    rows = [tuple(row) for row in csv.reader(io.StringIO(path.read_text(encoding="utf-8"))) if row]
    if not rows or any(len(row) != len(rows[0]) for row in rows):
        raise InputError(f"{path} is no whole table; delete it and run the analysis again")
    return Table(rows[0], tuple(rows[1:]))


def read_entries(path: Path, authors: Sequence[str]) -> Table:
    """The rows of differences.csv of some authors.

    Raises:
        InputError: it is missing, lacks a key column, has no statistic, or no row of them.
    """
    if not path.exists():
        raise InputError(f"{path} does not exist; run analysis/compare_readers.py first")
    table = read_csv(path)
    lacking = [name for name in KEYS if name not in table.names]
    if lacking or not any(table.is_numeric(name) for name in table.names if name not in KEYS):
        raise InputError(f"{path} lacks {', '.join(lacking) or 'numbers'}; run analysis/compare_readers.py again")
    of_authors = table.of_authors(authors)
    if not of_authors.rows:
        raise InputError(f"{path} has no row of {', '.join(authors)}; run analysis/compare_readers.py with them")
    return of_authors


def joined(table: Table, more: Table, method: str) -> Table:
    """A table with the rows of one that has none for layers: they come as layer `all`, of the method that it names."""
    names = (*table.names, *(name for name in more.names if name not in table.names))
    given = {"method": method, "layer": ALL_LAYERS}
    rows = [(*row, *("" for _ in names[len(row) :])) for row in table.rows]
    for row in more.rows:
        cells = {**given, **dict(zip(more.names, row, strict=True))}
        rows.append(tuple(cells.get(name, "") for name in names))
    return Table(names, tuple(rows))


def leading_statistic(table: Table) -> str:
    """The column that orders traits and fills the heat map at first."""
    numeric = [name for name in table.names if name not in KEYS and table.is_numeric(name)]
    whole = [name for name in LEADING if name in numeric and _is_whole(table.column(name))]
    return next(iter([*whole, *(name for name in LEADING[1:] if name in numeric), *numeric]))


def _is_whole(cells: Sequence[str]) -> bool:
    """Whether no cell says that its number is not known (an empty one is of a table without the column)."""
    return all(as_number(cell) is not None for cell in cells if cell)


def mean_over_layers(table: Table, statistic: str, method: str) -> dict[tuple[str, str], float]:
    """(author, trait) to the statistic's mean over the single layers, of one method."""
    found: dict[tuple[str, str], list[float]] = {}
    columns = [table.column(name) for name in (*KEYS, statistic)]
    for author, trait, of, layer, cell in zip(*columns, strict=True):
        value = as_number(cell)
        if of == method and layer != ALL_LAYERS and value is not None:
            found.setdefault((author, trait), []).append(value)
    return {key: sum(values) / len(values) for key, values in found.items()}


def packed(table: Table) -> list[dict[str, Any]]:
    """The columns as the page reads them: {name, values}, or {name, names, places} for text."""
    return [_packed_column(table, name) for name in table.names]


def _packed_column(table: Table, name: str) -> dict[str, Any]:
    cells = table.column(name)
    if table.is_numeric(name):
        return {"name": name, "values": [as_number(cell) for cell in cells]}
    names = sorted(set(cells))
    place = {each: index for index, each in enumerate(names)}
    return {"name": name, "names": names, "places": [place[cell] for cell in cells]}


def as_number(cell: str) -> float | int | None:
    """A cell's number with the digits that are shown; None for an empty, infinite or missing one."""
    value = float(cell) if cell else math.nan
    if not math.isfinite(value):
        return None
    short = float(f"{value:.{DIGITS}g}")
    return int(short) if short == int(short) and abs(short) < 1e15 else short


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return "_" not in cell and not cell.isspace()
