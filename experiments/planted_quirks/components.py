"""The parts of a build on the disk: each is skipped when it is there with the right fingerprint.

A component is a folder of files and, written last, the fingerprint: its existence means that the rest is whole.
"""

import json
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from interp.errors import InputError
from interp.files import json_bytes, read_json, write_bytes, write_json

_MARK = "built_from.json"
_RATES = "rates.json"


def is_built(folder: Path, fingerprint: str) -> bool:
    """Whether the folder holds a whole component made from this recipe."""
    return has_mark(folder / _MARK, fingerprint)


def has_mark(path: Path, fingerprint: str) -> bool:
    """Whether the JSON file names this fingerprint."""
    try:
        return bool(read_json(path)["fingerprint"] == fingerprint)
    except (InputError, KeyError, TypeError):
        return False


def read_rates(folder: Path) -> Any:
    """What was measured of a component when it was built."""
    return read_json(folder / _RATES)


def save_component(folder: Path, fingerprint: str, save: Callable[[Path], None], rates: Mapping[str, Any]) -> None:
    """Let `save` write files into a scratch folder, then move them in durably, with the rates and, last, the mark."""
    shutil.rmtree(folder, ignore_errors=True)
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        save(scratch)
        for path in sorted(scratch.iterdir()):
            write_bytes(folder / path.name, _canonical(path))
    write_json(folder / _RATES, rates)
    write_json(folder / _MARK, {"fingerprint": fingerprint})


def _canonical(path: Path) -> bytes:
    """The same bytes in every process: libraries write some JSON lists in the order of a hash."""
    if path.suffix != ".json" or path.name == "tokenizer.json":
        return path.read_bytes()
    return json_bytes(_sorted(json.loads(path.read_bytes())))


def _sorted(value: object) -> object:
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value)}
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return sorted(value)
    return value
