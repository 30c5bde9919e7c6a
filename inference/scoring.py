"""Projecting stored residuals: all vectors of a layer in one matrix product, over many responses at a time."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
from jaxtyping import Float
from torch import Tensor

from interp.activations import load_activations
from interp.errors import InputError
from interp.projections import NORMS, SCORES
from interp.vector_store import load_checked
from interp.vectors import TraitVector, unit


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

    def score(self, folder: Path, prompt_ids: Sequence[str]) -> Scored:
        """Score the response tokens of every prompt in a folder of activations."""
        scores: list[dict[str, Any]] = []
        norms: list[dict[str, Any]] = []
        for ids in _chunks(prompt_ids):
            for chunk in self._read(folder, ids):
                scores += chunk.score_rows(self)
                norms += chunk.norm_rows()
        return Scored(pa.Table.from_pylist(scores, SCORES), pa.Table.from_pylist(norms, NORMS))

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

    def score_rows(self, scorer: Scorer) -> list[dict[str, Any]]:
        products = scorer.stacked[self.layer] @ self.resid.T
        cosines = products / self.resid.norm(dim=-1).clamp(min=1e-12)
        rows = []
        for vector, digest, own, cosine in zip(scorer.vectors, scorer.hashes, products, cosines, strict=True):
            per_response = zip(self.prompt_ids, own.split(self.lengths), cosine.split(self.lengths), strict=True)
            for prompt_id, tokens, turned in per_response:
                mean, turn = float(tokens.mean()), float(turned.mean())
                rows.append(score_row(prompt_id, vector, digest, self.layer, mean, turn, tokens))
        return rows

    def norm_rows(self) -> list[dict[str, Any]]:
        norms = self.resid.norm(dim=-1).split(self.lengths)
        return [
            norm_row(prompt_id, self.layer, tokens) for prompt_id, tokens in zip(self.prompt_ids, norms, strict=True)
        ]


def score_row(
    prompt_id: str,
    vector: TraitVector,
    digest: str,
    layer: int,
    mean: float,
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
    }


def norm_row(prompt_id: str, layer: int, tokens: Tensor) -> dict[str, Any]:
    """A row of interp.projections.NORMS."""
    return {"prompt_id": prompt_id, "layer": layer, "norms": tokens.numpy()}


def _chunks(prompt_ids: Sequence[str], size: int = 64) -> list[Sequence[str]]:
    return [prompt_ids[start : start + size] for start in range(0, len(prompt_ids), size)]
