"""The rows of a reading whose residuals were not kept: from means, or from scores that the forced pass made."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch

from inference.scoring import Scored, Scorer, norm_row, score_row
from interp.errors import InputError
from interp.projections import NORMS, SCORES
from interp.summaries import Summary, load_summary


def score_summaries(scorer: Scorer, folder: Path, prompt_ids: Sequence[str]) -> Scored:
    """What can be said of a folder of summaries on the scorer's vectors.

    Raises:
        InputError: scores were kept, but not on all of these vectors, or a layer was not kept.
    """
    scores: list[dict[str, Any]] = []
    norms: list[dict[str, Any]] = []
    for prompt_id in prompt_ids:
        path = folder / f"{prompt_id}.pt"
        summary = load_summary(path)
        if not summary.token_ids:
            continue
        missing = sorted(set(scorer.layers) - set(summary.layers))
        if missing:
            raise InputError(f"{path} holds layers {list(summary.layers)}, not {missing}; choose others with --layers")
        rows = _pooled_rows if summary.keep == "pooled" else _scored_rows
        for place in (summary.layers.index(layer) for layer in scorer.layers):
            scores += rows(scorer, summary, place, prompt_id, path)
            norms.append(norm_row(prompt_id, summary.layers[place], summary.norms[place]))
    return Scored(pa.Table.from_pylist(scores, SCORES), pa.Table.from_pylist(norms, NORMS))


def _pooled_rows(scorer: Scorer, summary: Summary, place: int, prompt_id: str, path: Path) -> list[dict[str, Any]]:
    """Means only: the projection of a mean is the mean of the projections. No tokens, no cosines."""
    layer = summary.layers[place]
    scorer.check_width(path, summary.values.shape[-1])
    means = scorer.stacked[layer] @ summary.values[place]
    return [
        score_row(prompt_id, vector, digest, layer, float(mean), null @ summary.values[place])
        for vector, digest, mean, null in zip(scorer.vectors, scorer.hashes, means, scorer.null[layer], strict=True)
    ]


def _scored_rows(scorer: Scorer, summary: Summary, place: int, prompt_id: str, path: Path) -> list[dict[str, Any]]:
    """The scores of the forced pass, on the vectors of its day."""
    layer, rows = summary.layers[place], []
    for file, vector, digest in zip(scorer.files, scorer.vectors, scorer.hashes, strict=True):
        if digest not in summary.vectors:
            raise InputError(
                f"{path} keeps projections, but none on {file}: its residuals are gone; replay with --keep raw or "
                "with that vector there, or choose others with --traits and --methods"
            )
        at = summary.vectors.index(digest)
        tokens = summary.values[at, place]
        null_means = torch.empty(0) if summary.null_means is None else summary.null_means[at, place]
        cosine = float((tokens / summary.norms[place].clamp(min=1e-12)).mean())
        rows.append(score_row(prompt_id, vector, digest, layer, float(tokens.mean()), null_means, cosine, tokens))
    return rows
