"""What steering with a trait's vectors does, beside the vectors: to given text, and to what the model writes itself.

`vectors/<trait>/steering.parquet` holds log-probabilities of given text, `steered_responses.parquet` beside it the
model's own replies.
"""

import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from interp.errors import InputError
from interp.files import write_bytes
from interp.records import Record, Sampling, parse_record

Readout = Literal["sentences", "own-answers"]
"""What shows and lacks the trait: the trait file's sentences, or the clean model's answers to held-out questions under
an eliciting system prompt and under its neutral twin."""

_KEY = b"provenance"
_Provenance = TypeVar("_Provenance", bound=Record)

STEERED = pa.schema(
    [
        ("method", pa.string()),
        ("direction", pa.string()),
        ("layer", pa.int32()),
        ("strength", pa.float64()),
        ("text", pa.string()),
        ("item", pa.int32()),
        ("n_tokens", pa.int32()),
        ("log_probability", pa.float64()),
    ]
)
"""`direction`: `vector`, or `random-<i>` of the same length; null, as method and layer, where nothing is steered.
`text`: `shows`, `lacks` or `neutral`; `item` counts within it. `log_probability`: mean per token, in nats."""


RESPONSES = pa.schema(
    [
        ("method", pa.string()),
        ("direction", pa.string()),
        ("layer", pa.int32()),
        ("strength", pa.float64()),
        ("item", pa.int32()),
        ("n_tokens", pa.int32()),
        ("stopped", pa.bool_()),
        ("text", pa.string()),
    ]
)
"""The first four as in `STEERED`. `item`: which question, from 0. `stopped`: whether the model ended its reply itself,
before the length limit. `text`: the reply, special tokens left out."""


class SteeringProvenance(Record):
    """Where the rows come from. `items` are the prompts of the texts that show or lack the trait."""

    trait: str
    model: str
    revision: str | None
    identity: str
    readout: Readout
    items: tuple[str, ...]
    neutral_items: tuple[str, ...]
    vectors: dict[str, str]
    layers: tuple[int, ...]
    strengths: tuple[float, ...]
    n_random: int


class ResponsesProvenance(Record):
    """Where steered replies come from. `questions` are what was asked, without a system prompt."""

    trait: str
    model: str
    revision: str | None
    identity: str
    questions: tuple[str, ...]
    vectors: dict[str, str]
    layers: tuple[int, ...]
    strengths: tuple[float, ...]
    n_random: int
    sampling: Sampling


@dataclass(frozen=True)
class Steering:
    """Rows of `STEERED` and where they come from."""

    rows: pa.Table
    provenance: SteeringProvenance


@dataclass(frozen=True)
class SteeredResponses:
    """Rows of `RESPONSES` and where they come from."""

    rows: pa.Table
    provenance: ResponsesProvenance


def steering_path(folder: Path, trait: str) -> Path:
    """The file of a trait in the folder of the vectors."""
    return folder / trait / "steering.parquet"


def responses_path(folder: Path, trait: str) -> Path:
    """The file of a trait's steered replies in the folder of the vectors."""
    return folder / trait / "steered_responses.parquet"


def save_steering(folder: Path, steering: Steering) -> None:
    _save(steering_path(folder, steering.provenance.trait), steering.rows.cast(STEERED), steering.provenance)


def save_responses(folder: Path, responses: SteeredResponses) -> None:
    _save(responses_path(folder, responses.provenance.trait), responses.rows.cast(RESPONSES), responses.provenance)


def load_steering(path: Path) -> Steering:
    """What was measured of a trait.

    Raises:
        InputError: missing, torn, or no such file.
    """
    provenance = read_steering_provenance(path)
    return Steering(_read_rows(path, STEERED), provenance)


def load_responses(path: Path) -> SteeredResponses:
    """The steered replies of a trait.

    Raises:
        InputError: missing, torn, or no such file.
    """
    provenance = read_responses_provenance(path)
    return SteeredResponses(_read_rows(path, RESPONSES), provenance)


def read_steering_provenance(path: Path) -> SteeringProvenance:
    """Where a file's rows come from, without reading them (InputError where that is not said)."""
    return _read_provenance(path, SteeringProvenance)


def read_responses_provenance(path: Path) -> ResponsesProvenance:
    """Where steered replies come from, without reading them (InputError where that is not said)."""
    return _read_provenance(path, ResponsesProvenance)


def _save(path: Path, rows: pa.Table, provenance: Record) -> None:
    buffer = io.BytesIO()
    metadata = {_KEY: provenance.model_dump_json().encode()}
    pq.write_table(rows.replace_schema_metadata(metadata), buffer, compression="zstd")
    write_bytes(path, buffer.getvalue())


def _read_rows(path: Path, schema: pa.Schema) -> pa.Table:
    rows = pq.read_table(path, partitioning=None)
    if rows.schema.names != schema.names:
        raise InputError(f"{path} has other columns than ours; make it again with --overwrite")
    return rows


def _read_provenance(path: Path, kind: type[_Provenance]) -> _Provenance:
    try:
        metadata = pq.read_schema(path).metadata or {}
    except (OSError, pa.ArrowInvalid) as error:
        raise InputError(f"{path} cannot be read ({error}); make it with inference/steer_with_vectors.py") from None
    if _KEY not in metadata:
        raise InputError(f"{path} does not say what it was made from; make it again with --overwrite")
    return parse_record(kind, json.loads(metadata[_KEY]), path)
