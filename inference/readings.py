"""What phases 1 and 2 share: a reader's residuals on a batch of responses, stored."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from inference.units import CaptureOptions, Inventory, Unit
from inference.vector_files import VectorFile
from interp.activations import Activations, cast_for_storage
from interp.capture import Reading, read_residuals
from interp.config import Experiment
from interp.files import write_many
from interp.manifest import read_fingerprint
from interp.models import LanguageModel
from interp.records import Response
from interp.summaries import Summary, pool, score, score_means
from interp.vector_store import load_checked

_FILES_AT_ONCE = 32


def store_readings(
    experiment: Experiment,
    unit: Unit,
    reader: str,
    responses: Sequence[Response],
    model: LanguageModel,
    options: CaptureOptions,
    inventory: Inventory,
) -> None:
    """Read the whole batch, so that every reader meets the same padding, and write the files that are missing."""
    folder = experiment.paths.activations(*unit.folder_key, reader)
    missing = {prompt.id for prompt in inventory.missing(folder, unit.prompts, ".pt")}
    if not missing:
        return
    settings = read_fingerprint(folder) or ""
    layers = tuple(sorted(experiment.config.layers))
    readings = [reading_of(response, options.response_only) for response in responses]
    files: dict[Path, bytes] = {}
    for index, resid in read_residuals(model, readings, layers, experiment.config.capture_tokens):
        response, reading = responses[index], readings[index]
        if response.id not in missing:
            continue
        files[folder / f"{response.id}.pt"] = kept_bytes(response, reading, resid, layers, options, settings)
        if len(files) == _FILES_AT_ONCE:
            write_many(files)
            files = {}
    write_many(files)


def kept_bytes(
    response: Response,
    reading: Reading,
    resid: Float[Tensor, "layers tokens d_model"],
    layers: tuple[int, ...],
    options: CaptureOptions,
    settings: str,
) -> bytes:
    """The content of a response's file: its residuals, or what is kept in their place."""
    boundary = len(response.prompt_ids) - reading.start
    if options.keep == "raw":
        what = f"{response.author}, {response.prompt_set}, {response.id}"
        stored = cast_for_storage(resid, options.stored_dtype, layers, what)
        return Activations(stored, layers, tuple(reading.ids[reading.start :]), boundary, settings).to_bytes()
    own = cast_for_storage(resid[:, boundary:], "float32", layers, f"{response.author}, {response.id}")
    norms, ids = own.norm(dim=-1), response.response_ids
    if options.keep == "pooled":
        return Summary("pooled", pool(own), norms, layers, ids, (), settings).to_bytes()
    directions = _directions(options.vectors, layers)
    hashes = tuple(vector.hash for vector in options.vectors)
    null_means = score_means(pool(own), directions.null)
    return Summary(
        "projections", score(own, directions.vectors), norms, layers, ids, hashes, settings, null_means
    ).to_bytes()


@dataclass(frozen=True)
class _Directions:
    """What a response is projected on; NaN where a vector has fewer random directions than another."""

    vectors: Float[Tensor, "vectors layers d_model"]
    null: Float[Tensor, "vectors layers null d_model"]


@cache
def _directions(vectors: tuple[VectorFile, ...], layers: tuple[int, ...]) -> _Directions:
    loaded = load_checked([vector.path for vector in vectors], layers, d_model=None)
    stacked = torch.stack([torch.stack([vector.at(layer) for layer in layers]) for vector in loaded])
    most = max(len(vector.null_at(layers[0])) for vector in loaded)
    null = torch.full((len(loaded), len(layers), most, stacked.shape[-1]), torch.nan)
    for row, vector in enumerate(loaded):
        for place, layer in enumerate(layers):
            null[row, place, : len(vector.null_at(layer))] = vector.null_at(layer)
    return _Directions(stacked, null)


def reading_of(response: Response, response_only: bool) -> Reading:
    """The whole sequence is read; the residuals of the response, or of everything, are kept."""
    return Reading(
        ids=(*response.prompt_ids, *response.response_ids), start=len(response.prompt_ids) if response_only else 0
    )
