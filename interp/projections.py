"""Projections on disk: one Parquet per (author, prompt set, reader), a row per (prompt, trait, method, layer)."""

import io
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from interp.errors import InputError
from interp.files import write_bytes
from interp.stats import Floats

Column = tuple[str, str, int]
"""Trait, method, layer."""

SCORES = pa.schema(
    [
        ("prompt_id", pa.string()),
        ("trait", pa.string()),
        ("method", pa.string()),
        ("layer", pa.int32()),
        ("vector", pa.string()),
        ("mean", pa.float32()),
        ("cosine", pa.float32()),
        ("scores", pa.list_(pa.float32())),
        ("null_means", pa.list_(pa.float32())),
    ]
)
"""`scores`: resid · v/|v| per response token; `mean` of them; `cosine`: mean of resid · v / (|resid| |v|);
`vector`: hash of the direction; `null_means`: the mean on each random direction that is kept with it. A response
without tokens has no rows."""

NORMS = pa.schema([("prompt_id", pa.string()), ("layer", pa.int32()), ("norms", pa.list_(pa.float32()))])
"""`norms`: the length of the residual at each response token."""

_ORDER = [("trait", "ascending"), ("method", "ascending"), ("layer", "ascending"), ("prompt_id", "ascending")]


def write_scores(path: Path, rows: pa.Table, settings: str) -> None:
    """Write rows in their fixed order; `settings` (a fingerprint) is kept in the file."""
    _write(path, rows.sort_by(_ORDER), settings)


def write_norms(path: Path, rows: pa.Table, settings: str) -> None:
    _write(path, rows.sort_by([("layer", "ascending"), ("prompt_id", "ascending")]), settings)


def read_table(path: Path, columns: list[str] | None = None) -> pa.Table:
    """A projection file, or some of its columns.

    Raises:
        InputError: missing or torn.
    """
    with _said_where_unreadable(path):
        return pq.read_table(path, columns=columns, partitioning=None, memory_map=True)


def read_scores(path: Path, wanted: Collection[Column]) -> dict[Column, dict[str, Floats]]:
    """Token scores per column and prompt id, for some (trait, method, layer).

    Raises:
        InputError: the file is missing or torn, or lacks a wanted column.
    """
    table = read_table(path, ["prompt_id", "trait", "method", "layer", "scores"]).combine_chunks()
    scores = table["scores"].chunk(0) if len(table) else pa.array([], pa.list_(pa.float32()))
    offsets, values = scores.offsets.to_numpy(), scores.values.to_numpy()
    found: dict[Column, dict[str, Floats]] = {column: {} for column in wanted}
    names = (table[name].to_pylist() for name in ("prompt_id", "trait", "method", "layer"))
    for row, (prompt_id, *column) in enumerate(zip(*names, strict=True)):
        of_prompt = found.get((column[0], column[1], column[2]))
        if of_prompt is not None:
            of_prompt[prompt_id] = values[offsets[row] : offsets[row + 1]]
    if not len(table):
        return found  # every response was empty
    lacking = [column for column, of_prompt in found.items() if not of_prompt]
    if lacking:
        raise InputError(f"{path} has no scores for {lacking[0]}; project again with --skip-existing")
    return found


def read_settings(path: Path) -> str:
    """The fingerprint of what a file was made from.

    Raises:
        InputError: missing or torn.
    """
    with _said_where_unreadable(path):
        metadata = pq.read_schema(path).metadata or {}
    return str(metadata.get(b"settings", b"").decode())


@contextmanager
def _said_where_unreadable(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; run inference/project_raw_activations_onto_traits.py") from None
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(f"{path} is torn ({error}); delete it and project again") from None


def _write(path: Path, rows: pa.Table, settings: str) -> None:
    buffer = io.BytesIO()
    pq.write_table(rows.replace_schema_metadata({"settings": settings}), buffer, compression="zstd")
    write_bytes(path, buffer.getvalue())
