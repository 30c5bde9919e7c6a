"""What phases 1 and 2 share: a reader's residuals on a batch of responses, stored."""

from collections.abc import Sequence
from pathlib import Path

from inference.units import CaptureOptions, Inventory, Unit
from interp.activations import Activations, cast_for_storage
from interp.capture import Reading, read_residuals
from interp.config import Experiment
from interp.files import write_many
from interp.manifest import read_fingerprint
from interp.models import LanguageModel
from interp.records import Response

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
        response, start = responses[index], readings[index].start
        if response.id not in missing:
            continue
        what = f"{unit.author}, {unit.prompt_set.name}, {response.id}"
        activations = Activations(
            resid=cast_for_storage(resid, options.stored_dtype, layers, what),
            layers=layers,
            token_ids=tuple(readings[index].ids[start:]),
            boundary=len(response.prompt_ids) - start,
            fingerprint=settings,
        )
        files[folder / f"{response.id}.pt"] = activations.to_bytes()
        if len(files) == _FILES_AT_ONCE:
            write_many(files)
            files = {}
    write_many(files)


def reading_of(response: Response, response_only: bool) -> Reading:
    """The whole sequence is read; the residuals of the response, or of everything, are kept."""
    return Reading(
        ids=(*response.prompt_ids, *response.response_ids), start=len(response.prompt_ids) if response_only else 0
    )
