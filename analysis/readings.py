"""What analysis reads: the projections of both readers, joined by prompt. Loads no model."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from interp.config import Experiment
from interp.errors import InputError
from interp.files import is_whole
from interp.paths import OWN_READER
from interp.projections import Column, read_table
from interp.stats import Floats


@dataclass(frozen=True)
class Paired:
    """One author's scores per prompt by both readers: `[prompts, columns]` each, NaN where a response was empty.

    `null_difference` is the difference of the means on the random directions that each vector is kept with:
    `[prompts, columns, k]`, k the number that all have.
    """

    author: str
    prompts: tuple[tuple[str, str], ...]
    columns: tuple[Column, ...]
    own: Floats
    clean: Floats
    own_cosine: Floats
    clean_cosine: Floats
    null_difference: Floats

    @property
    def difference(self) -> Floats:
        """Own reading minus the clean reader's, prompt by prompt."""
        difference: Floats = self.own - self.clean
        return difference

    @property
    def cosine_difference(self) -> Floats:
        difference: Floats = self.own_cosine - self.clean_cosine
        return difference


def projection_files(
    experiment: Experiment, authors: Sequence[str], prompt_sets: Sequence[str], readers: Sequence[str] | None = None
) -> list[Path]:
    """The files of some readers (default: the author itself and the clean reader), in a fixed order."""
    return [
        experiment.paths.projections(author, prompt_set, reader)
        for author in authors
        for prompt_set in prompt_sets
        for reader in readers or (OWN_READER, experiment.config.clean_reader)
    ]


def projected_authors(
    experiment: Experiment, authors: Sequence[str], prompt_sets: Sequence[str], readers: Sequence[str] | None = None
) -> tuple[list[str], list[str]]:
    """The authors that the readers (default: both) have projections of, and those left out for want of them."""
    complete = [
        author for author in authors if all(map(is_whole, projection_files(experiment, [author], prompt_sets, readers)))
    ]
    return complete, [author for author in authors if author not in complete]


def read_paired(experiment: Experiment, author: str, prompt_sets: Sequence[str]) -> Paired:
    """Both readers' scores of an author's responses, over some prompt sets."""
    own = _wide(experiment, author, prompt_sets, OWN_READER)
    clean = _wide(experiment, author, prompt_sets, experiment.config.clean_reader)
    columns = tuple(column for column in own.columns if column in set(clean.columns))
    prompts = tuple(prompt for prompt in own.prompts if prompt in set(clean.prompts))
    return Paired(
        author,
        prompts,
        columns,
        own.select("mean", prompts, columns),
        clean.select("mean", prompts, columns),
        own.select("cosine", prompts, columns),
        clean.select("cosine", prompts, columns),
        _common_difference(own.select_null(prompts, columns), clean.select_null(prompts, columns)),
    )


def _common_difference(own: Floats, clean: Floats) -> Floats:
    """On the random directions that both have."""
    k = min(own.shape[-1], clean.shape[-1])
    difference: Floats = own[..., :k] - clean[..., :k]
    return difference


@dataclass(frozen=True)
class _Wide:
    prompts: tuple[tuple[str, str], ...]
    columns: tuple[Column, ...]
    values: dict[str, Floats]
    null: Floats

    def select(self, name: str, prompts: Sequence[tuple[str, str]], columns: Sequence[Column]) -> Floats:
        values: Floats = self.values[name][self._places(prompts, columns)]
        return values

    def select_null(self, prompts: Sequence[tuple[str, str]], columns: Sequence[Column]) -> Floats:
        null: Floats = self.null[self._places(prompts, columns)]
        return null

    def _places(self, prompts: Sequence[tuple[str, str]], columns: Sequence[Column]) -> tuple[Any, ...]:
        row_of = {prompt: row for row, prompt in enumerate(self.prompts)}
        place_of = {column: place for place, column in enumerate(self.columns)}
        return np.ix_([row_of[prompt] for prompt in prompts], [place_of[column] for column in columns])


def _wide(experiment: Experiment, author: str, prompt_sets: Sequence[str], reader: str) -> _Wide:
    """A prompt a row, a (trait, method, layer) a column."""
    parts: list[pa.Table] = []
    for name in prompt_sets:
        path = experiment.paths.projections(author, name, reader)
        table = read_table(path, ["prompt_id", "trait", "method", "layer", "mean", "cosine", "null_means"])
        _refuse_other_columns(parts[0] if parts else table, table, path)
        parts.append(table.append_column("prompt_set", pa.array([name] * len(table), pa.string())))
    table = pa.concat_tables(parts)
    prompt_keys = _keys(table, ["prompt_set", "prompt_id"])
    column_keys = _keys(table, ["trait", "method", "layer"])
    prompts, rows = _index(prompt_keys)
    columns, places = _index(column_keys)
    values = {}
    for name in ("mean", "cosine"):
        values[name] = np.full((len(prompts), len(columns)), np.nan)
        values[name][rows, places] = table[name].to_numpy().astype(float)
    return _Wide(
        tuple((str(name), str(prompt_id)) for name, prompt_id in (key.split("\x1f") for key in prompts)),
        tuple((trait, method, int(layer)) for trait, method, layer in (key.split("\x1f") for key in columns)),
        values,
        _null_means(table, rows, places, (len(prompts), len(columns))),
    )


def _null_means(table: pa.Table, rows: Floats, places: Floats, shape: tuple[int, int]) -> Floats:
    """`[prompts, columns, k]`, float32, k the number of random directions that every row has; NaN without a row."""
    lists = table["null_means"].combine_chunks()
    counts = pc.list_value_length(lists).to_numpy(zero_copy_only=False)
    k = int(np.nan_to_num(counts).min()) if len(counts) else 0
    found = np.full((*shape, k), np.nan, dtype=np.float32)
    if k:
        first = lists.offsets.to_numpy()[:-1]
        found[rows, places] = lists.values.to_numpy()[first[:, None] + np.arange(k)]
    return found


def _refuse_other_columns(first: pa.Table, table: pa.Table, path: Path) -> None:
    """One prompt set's vectors must be those of all: else prompts would be compared on some columns only."""
    of = [set(_keys(each, ["trait", "method", "layer"]).unique().to_pylist()) for each in (first, table)]
    if of[0] and of[1] and of[0] != of[1]:
        odd = sorted(of[0] ^ of[1])[0].replace("\x1f", ", ")
        raise InputError(f"{path} has other vectors than another prompt set ({odd}): run phase 3 on all of them")


def _keys(table: pa.Table, names: Sequence[str]) -> pa.Array:
    return pc.binary_join_element_wise(*[pc.cast(table[name], pa.string()) for name in names], "\x1f").combine_chunks()


def _index(keys: pa.Array) -> tuple[list[str], Floats]:
    """The different keys, sorted, and where each row's stands among them."""
    encoded = keys.dictionary_encode()
    names = encoded.dictionary.to_pylist()
    order = sorted(range(len(names)), key=names.__getitem__)
    rank = np.empty(len(names), dtype=np.int64)
    rank[order] = np.arange(len(names))
    return [names[index] for index in order], rank[encoded.indices.to_numpy()]
