"""What steering with a trait's vectors does to given text: `vectors/<trait>/steering.parquet`, beside the vectors."""

import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.parquet as pq

from interp.errors import InputError
from interp.files import write_bytes
from interp.records import Record, parse_record

Readout = Literal["sentences", "own-answers"]
"""What shows and lacks the trait: the trait file's sentences, or the clean model's answers to held-out questions under
an eliciting system prompt and under its neutral twin."""

_KEY = b"provenance"

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


@dataclass(frozen=True)
class Steering:
    """Rows of `STEERED` and where they come from."""

    rows: pa.Table
    provenance: SteeringProvenance


def steering_path(folder: Path, trait: str) -> Path:
    """The file of a trait in the folder of the vectors."""
    return folder / trait / "steering.parquet"


def save_steering(folder: Path, steering: Steering) -> None:
    buffer = io.BytesIO()
    metadata = {_KEY: steering.provenance.model_dump_json().encode()}
    rows = steering.rows.cast(STEERED).replace_schema_metadata(metadata)
    pq.write_table(rows, buffer, compression="zstd")
    write_bytes(steering_path(folder, steering.provenance.trait), buffer.getvalue())


def load_steering(path: Path) -> Steering:
    """What was measured of a trait.

    Raises:
        InputError: missing, torn, or no such file.
    """
    provenance = read_steering_provenance(path)
    rows = pq.read_table(path, partitioning=None)
    if rows.schema.names != STEERED.names:
        raise InputError(f"{path} has other columns than ours; make it again with --overwrite")
    return Steering(rows, provenance)


def read_steering_provenance(path: Path) -> SteeringProvenance:
    """Where a file's rows come from, without reading them (InputError where that is not said)."""
    try:
        metadata = pq.read_schema(path).metadata or {}
    except (OSError, pa.ArrowInvalid) as error:
        raise InputError(f"{path} cannot be read ({error}); make it with inference/steer_with_vectors.py") from None
    if _KEY not in metadata:
        raise InputError(f"{path} does not say what it was made from; make it again with --overwrite")
    return parse_record(SteeringProvenance, json.loads(metadata[_KEY]), path)
