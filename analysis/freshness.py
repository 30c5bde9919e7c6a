"""Whether an analysis would only say again what it said: its inputs, its options and its own code are the same."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from interp.files import read_json, write_json
from interp.manifest import content_identity, file_sample_hash, fingerprint
from interp.paths import REPOSITORY

_NOTE = "_made_from.json"


def made_from(inputs: Sequence[Path], options: Mapping[str, Any]) -> str:
    """A fingerprint of all that determines an analysis."""
    return fingerprint(
        {
            "inputs": {str(index): file_sample_hash(path) for index, path in enumerate(inputs)},
            "options": dict(options),
            "code": [content_identity(str(REPOSITORY / folder), None) for folder in ("analysis", "interp")],
        }
    )


def is_fresh(folder: Path, made: str, files: Iterable[str]) -> bool:
    """Whether a folder's analysis was made from just this, and its files are all there."""
    note = folder / _NOTE
    return (
        note.exists()
        and read_json(note).get("fingerprint") == made
        and all((folder / name).exists() for name in files)
    )


def note_made(folder: Path, made: str) -> None:
    """Say what an analysis was made from; written last, so that it means that the rest is there."""
    write_json(folder / _NOTE, {"fingerprint": made})
