"""Projecting stored residuals: all vectors of a layer in one matrix product, over many responses at a time."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from interp.activations import load_activations
from interp.errors import InputError
from interp.projections import NORMS, SCORES
from interp.stats import Floats
from interp.vector_store import load_checked
from interp.vectors import TraitVector, unit

Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Scored:
    """The rows of a reading, as Arrow tables."""

    scores: pa.Table
    norms: pa.Table


class Scorer:
    """A fixed set of vectors, stacked per layer."""

    def __init__(self, files: Mapping[Path, str], layers: Sequence[int], d_model: int | None) -> None:
        """
        Args:
            files: each vector's file and the hash of its content.
            d_model: the model's width, None where it is not known without loading it.

        Raises:
            InputError: a vector lacks a layer, or is of another width.
        """
        self.layers = tuple(sorted(layers))
        self.vectors: list[TraitVector] = load_checked(list(files), self.layers, d_model)
        self.files, self.hashes = list(files), list(files.values())
        self.stacked = {
            layer: unit(torch.stack([vector.at(layer).float() for vector in self.vectors])) for layer in self.layers
        }
        self.null = {
            layer: [unit(vector.null_at(layer).float()) for vector in self.vectors] for layer in self.layers
        }

    def score(self, folder: Path, prompt_ids: Sequence[str]) -> Scored:
        """Score the response tokens of every prompt in a folder of activations."""
        scores, norms = [SCORES.empty_table()], [NORMS.empty_table()]
        for ids in _chunks(prompt_ids):
            for chunk in self._read(folder, ids):
                scores += chunk.score_tables(self)
                norms.append(chunk.norm_table())
        return Scored(pa.concat_tables(scores), pa.concat_tables(norms))

    def _read(self, folder: Path, prompt_ids: Sequence[str]) -> list["_Chunk"]:
        """One chunk per layer for some responses; those without a single token are left out."""
        found = [(prompt_id, load_activations(folder / f"{prompt_id}.pt")) for prompt_id in prompt_ids]
        for prompt_id, activations in found:
            self._check(folder / f"{prompt_id}.pt", activations.layers, activations.resid.shape[-1])
        kept = [(prompt_id, each) for prompt_id, each in found if each.response.shape[1]]
        if not kept:
            return []
        return [
            _Chunk(
                layer,
                [prompt_id for prompt_id, _ in kept],
                [each.response.shape[1] for _, each in kept],
                torch.cat([each.response[each.layers.index(layer)] for _, each in kept]).float(),
            )
            for layer in self.layers
        ]

    def _check(self, path: Path, layers: Sequence[int], d_model: int) -> None:
        missing = sorted(set(self.layers) - set(layers))
        if missing:
            raise InputError(f"{path} holds layers {list(layers)}, not {missing}; choose others with --layers")
        self.check_width(path, d_model)

    def check_width(self, path: Path, d_model: int) -> None:
        """
        Raises:
            InputError: a vector is of another width than the residuals in `path`.
        """
        for file, vector in zip(self.files, self.vectors, strict=True):
            width = vector.directions.shape[1]
            if width != d_model:
                raise InputError(f"{file} has d_model {width}, the residuals in {path} have {d_model}: another model's")


@dataclass(frozen=True)
class _Chunk:
    """The residuals of several responses at one layer, end to end."""

    layer: int
    prompt_ids: list[str]
    lengths: list[int]
    resid: Float[Tensor, "tokens d_model"]

    def score_tables(self, scorer: Scorer) -> Iterator[pa.Table]:
        """A table per vector, built column by column: a row object per score would cost more than the scores."""
        products = (scorer.stacked[self.layer] @ self.resid.T).numpy()
        cosines = products / self.resid.norm(dim=-1).clamp(min=1e-12).numpy()
        means, turns = self._means(products), self._means(cosines)
        pooled = torch.stack([of_response.mean(dim=0) for of_response in torch.split(self.resid, self.lengths)])
        n = len(self.prompt_ids)
        for row, (vector, digest) in enumerate(zip(scorer.vectors, scorer.hashes, strict=True)):
            yield pa.table(
                {
                    "prompt_id": self.prompt_ids,
                    "trait": pa.repeat(vector.trait, n),
                    "method": pa.repeat(vector.method, n),
                    "layer": pa.repeat(pa.scalar(self.layer, pa.int32()), n),
                    "vector": pa.repeat(digest, n),
                    "mean": means[row],
                    "cosine": turns[row],
                    "scores": self._per_response(products[row]),
                    "null_means": _as_lists((pooled @ scorer.null[self.layer][row].T).numpy()),
                },
                schema=SCORES,
            )

    def norm_table(self) -> pa.Table:
        layers = pa.repeat(pa.scalar(self.layer, pa.int32()), len(self.prompt_ids))
        norms = self._per_response(self.resid.norm(dim=-1).numpy())
        return pa.table({"prompt_id": self.prompt_ids, "layer": layers, "norms": norms}, schema=NORMS)

    @property
    def _starts(self) -> Indices:
        """Where each response begins, and the end of the last."""
        return np.concatenate([[0], np.cumsum(self.lengths)])

    def _means(self, tokens: Floats) -> Floats:
        """Means over the tokens of each response, `[vectors, responses]`; summed in double precision."""
        sums = np.add.reduceat(tokens, self._starts[:-1], axis=1, dtype=np.float64)
        means: Floats = (sums / np.array(self.lengths)).astype(np.float32)
        return means

    def _per_response(self, tokens: Floats) -> pa.Array:
        return pa.ListArray.from_arrays(pa.array(self._starts, pa.int32()), pa.array(tokens, pa.float32()))


def _as_lists(values: Floats) -> pa.Array:
    """A list per row of `[rows, k]`."""
    rows, k = values.shape
    starts = pa.array(np.arange(0, rows * k + 1, k) if k else np.zeros(rows + 1), pa.int32())
    return pa.ListArray.from_arrays(starts, pa.array(values.ravel(), pa.float32()))


def score_row(
    prompt_id: str,
    vector: TraitVector,
    digest: str,
    layer: int,
    mean: float,
    null_means: Tensor,
    cosine: float | None = None,
    tokens: Tensor | None = None,
) -> dict[str, Any]:
    """A row of interp.projections.SCORES; without tokens where only means were kept."""
    return {
        "prompt_id": prompt_id,
        "trait": vector.trait,
        "method": vector.method,
        "layer": layer,
        "vector": digest,
        "mean": mean,
        "cosine": cosine,
        "scores": [] if tokens is None else tokens.numpy(),
        "null_means": null_means[~null_means.isnan()].numpy(),
    }


def norm_row(prompt_id: str, layer: int, tokens: Tensor) -> dict[str, Any]:
    """A row of interp.projections.NORMS."""
    return {"prompt_id": prompt_id, "layer": layer, "norms": tokens.numpy()}


def _chunks(prompt_ids: Sequence[str], size: int = 64) -> list[Sequence[str]]:
    return [prompt_ids[start : start + size] for start in range(0, len(prompt_ids), size)]
