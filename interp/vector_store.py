"""Trait vectors on disk: `vectors/<trait>/<method>.safetensors`, provenance in the file's metadata."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors import SafetensorError, safe_open

from interp.errors import InputError
from interp.files import write_tensors
from interp.records import Provenance, parse_record

if TYPE_CHECKING:
    from interp.stats import Floats
    from interp.vectors import TraitVector

_KEY = "provenance"
_TENSORS = {"directions", "positive_mean", "negative_mean"}


def vector_path(folder: Path, trait: str, method: str) -> Path:
    return folder / trait / f"{method}.safetensors"


def save_vector(folder: Path, vector: "TraitVector") -> None:
    tensors = {
        "directions": vector.directions,
        "positive_mean": vector.positive_mean,
        "negative_mean": vector.negative_mean,
    }
    if vector.null_directions is not None:
        tensors["null_directions"] = vector.null_directions
    provenance = vector.provenance.model_dump_json()
    write_tensors(vector_path(folder, vector.trait, vector.method), tensors, {_KEY: provenance})


def load_vector(path: Path) -> "TraitVector":
    """A vector with its provenance.

    Raises:
        InputError: torn, without provenance, or not of the shape that its provenance says.
    """
    from interp.vectors import TraitVector

    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # not a dict
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path} is not a whole safetensors file ({error}); extract it again") from None
    provenance = read_provenance(path)
    if set(tensors) - {"null_directions"} != _TENSORS:
        raise InputError(f"{path} has other tensors than a trait vector; extract it again")
    width = tensors["directions"].shape[-1]
    if any(tensor.shape[-2:] != (len(provenance.layers), width) for tensor in tensors.values()):
        raise InputError(f"{path}: its tensors are not [{len(provenance.layers)} layers, d_model]; extract it again")
    if not all(bool(tensor.isfinite().all()) for tensor in tensors.values()):
        raise InputError(f"{path} holds values that are not finite; extract it again")
    return TraitVector(provenance=provenance, **tensors)


def read_provenance(path: Path) -> Provenance:
    """Where a vector comes from, without loading it (InputError where that is not said)."""
    try:
        with safe_open(path, framework="np") as file:
            metadata = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path} is not a whole safetensors file ({error}); extract it again") from None
    if _KEY not in metadata:
        raise InputError(f"{path} is no trait vector of ours: make it with inference/extract_trait_vectors.py")
    return parse_record(Provenance, _parse_json(metadata[_KEY], path), path)


def read_directions(path: Path) -> "Floats":
    """A vector's directions `[layers, d_model]`, without torch (InputError where the file is not whole)."""
    try:
        with safe_open(path, framework="np") as file:
            directions: Floats = file.get_tensor("directions")
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path} is not a whole safetensors file ({error}); extract it again") from None
    return directions


def list_vectors(folder: Path, traits: list[str] | None = None, methods: list[str] | None = None) -> list[Path]:
    """The files of the asked traits and methods (default: all), in a fixed order.

    Raises:
        InputError: an asked trait or method has no vector, or an asked trait none by an asked method.
    """
    paths = sorted(folder.glob("*/*.safetensors"))
    for asked, known in ((traits, {path.parent.name for path in paths}), (methods, {path.stem for path in paths})):
        missing = [name for name in asked or () if name not in known]
        if missing:
            raise InputError(f"no vectors for {', '.join(missing)} in {folder}; there are: {', '.join(sorted(known))}")
    pairs = [(trait, method) for trait in traits or () for method in methods or ()]
    for trait, method in pairs:
        if vector_path(folder, trait, method) not in paths:
            raise InputError(f"no vector for {trait} by {method} in {folder}; extract it with --methods {method}")
    return [
        path
        for path in paths
        if (not traits or path.parent.name in traits) and (not methods or path.stem in methods)
    ]


def load_checked(paths: list[Path], layers: tuple[int, ...], d_model: int | None) -> "list[TraitVector]":
    """The vectors, when every one has the layers and the width (None: one width) that are going to be projected on.

    Raises:
        InputError: one does not; before any work is done.
    """
    vectors = [load_vector(path) for path in paths]
    for path, vector in zip(paths, vectors, strict=True):
        missing = sorted(set(layers) - set(vector.layers))
        if missing:
            raise InputError(f"{path} has layers {list(vector.layers)}, not {missing}; extract it with --layers")
        width = vector.directions.shape[1]
        d_model = width if d_model is None else d_model
        if width != d_model:
            raise InputError(f"{path} has d_model {width}, not {d_model}: it is from another model")
    return vectors


def _parse_json(text: str, path: Path) -> object:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(f"{path}: its provenance is not JSON ({error})") from None
