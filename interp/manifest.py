"""The settings that determine an output, written beside it: what makes skipping existing files safe."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from interp.errors import SettingsChanged
from interp.files import list_names, read_json, write_json

MANIFEST = "_manifest.json"
_WEIGHT_SUFFIXES = {".json", ".safetensors", ".bin", ".model", ".txt", ".jinja", ".py"}
"""Files that a model or tokenizer is made of; a README beside them is not part of what they are."""
_SAMPLE = 1 << 20


def fingerprint(settings: Mapping[str, Any]) -> str:
    """A short hash of settings: equal exactly when they are."""
    canonical = json.dumps(settings, sort_keys=True, ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def guard(folder: Path, settings: Mapping[str, Any], overwrite: bool = False) -> str:
    """Claim `folder` for outputs made with `settings`; their fingerprint. An earlier claim holds once it has outputs.

    Raises:
        SettingsChanged: the folder holds outputs of other settings; names the keys that differ.
    """
    path = folder / MANIFEST
    new = fingerprint(settings)
    if path.exists() and not overwrite and _has_outputs(folder):
        before = read_json(path)
        if before.get("fingerprint") != new:
            raise SettingsChanged(_difference(folder, before.get("settings", {}), _as_stored(settings)))
    elif not path.exists() or overwrite or read_json(path).get("fingerprint") != new:
        write_json(path, {"fingerprint": new, "settings": dict(settings), "numerics": None})
    return new


def guard_numerics(folder: Path, numerics: Mapping[str, Any]) -> None:
    """Note on what a claimed folder's outputs are computed, the first time; later, see that it is the same.

    Apart from `guard`, since a finished run need not know what machine it is on.

    Raises:
        SettingsChanged: it was begun on another device, or with another number of CPU threads.
    """
    path = folder / MANIFEST
    content = read_json(path)
    if content["numerics"] is None or not _has_outputs(folder):
        write_json(path, {**content, "numerics": dict(numerics)})
    elif content["numerics"] != _as_stored(numerics):
        raise SettingsChanged(_difference(folder, content["numerics"], _as_stored(numerics)))


def _has_outputs(folder: Path) -> bool:
    return any(not name.startswith("_") for name in list_names(folder))


def read_fingerprint(folder: Path) -> str | None:
    """The fingerprint of what a folder holds, or None where nothing was begun."""
    path = folder / MANIFEST
    return str(read_json(path)["fingerprint"]) if path.exists() else None


def read_made_with(folder: Path) -> dict[str, Any]:
    """The settings of what a folder holds; empty where nothing was begun."""
    path = folder / MANIFEST
    return dict(read_json(path)["settings"]) if path.exists() else {}


def file_hash(path: Path) -> str:
    """A short hash of a file's whole content."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def content_identity(source: str, revision: str | None) -> dict[str, Any]:
    """What names the weights behind `source`: for a local folder its content, for a hub id the id and revision.

    Big files are known by their size, first and last MiB: enough to tell two trainings apart, in milliseconds.
    """
    folder = Path(source)
    if not folder.is_dir():
        return {"source": source, "revision": revision or "main"}
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.iterdir() if path.suffix in _WEIGHT_SUFFIXES):
        digest.update(f"{path.name} {path.stat().st_size} ".encode())
        digest.update(_sample(path))
    return {"source": folder.name, "sha256": digest.hexdigest()[:32]}


def file_sample_hash(path: Path) -> str:
    """A hash of a file's size, first and last MiB."""
    return hashlib.sha256(f"{path.stat().st_size} ".encode() + _sample(path)).hexdigest()[:16]


def _sample(path: Path) -> bytes:
    with path.open("rb") as file:
        first = file.read(_SAMPLE)
        file.seek(max(path.stat().st_size - _SAMPLE, 0))
        return first + file.read(_SAMPLE)


def _as_stored(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as they come back from JSON (tuples as lists), to be compared with stored ones."""
    stored: dict[str, Any] = json.loads(json.dumps(settings))
    return stored


def _difference(folder: Path, before: dict[str, Any], now: dict[str, Any]) -> str:
    changes = [
        f"{key}: {_short(before.get(key))} -> {_short(now.get(key))}"
        for key in sorted(before.keys() | now.keys())
        if before.get(key) != now.get(key)
    ]
    return (
        f"{folder} holds outputs made with other settings ({'; '.join(changes)}); go back to those settings, "
        "choose another --root, or replace them with --overwrite"
    )


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else f"{text[:60]}…{text[-15:]}"
