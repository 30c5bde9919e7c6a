"""Settings that determine outputs are guarded; a change of any names itself."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from interp.errors import SettingsChanged
from interp.files import read_json
from interp.manifest import (
    MANIFEST,
    content_identity,
    file_hash,
    file_sample_hash,
    fingerprint,
    guard,
    guard_numerics,
    read_fingerprint,
    read_made_with,
)

SETTINGS: Mapping[str, Any] = {"layers": (1, 2), "sampling": {"seed": 0, "top_p": 1.0}, "adapter": None}


def test_fingerprint_is_of_the_values_not_their_order() -> None:
    turned = {"adapter": None, "sampling": {"top_p": 1.0, "seed": 0}, "layers": [1, 2]}
    assert fingerprint(SETTINGS) == fingerprint(turned)
    others = [{**SETTINGS, "layers": (2, 1)}, {**SETTINGS, "adapter": ""}, {**SETTINGS, "new": None}]
    assert len({fingerprint(settings) for settings in (SETTINGS, *others)}) == 4
    with pytest.raises(ValueError, match="JSON compliant"):
        fingerprint({"x": float("nan")})


def test_the_same_settings_may_go_on(tmp_path: Path) -> None:
    assert read_fingerprint(tmp_path) is None
    first = guard(tmp_path, SETTINGS)
    before = (tmp_path / MANIFEST).read_bytes()
    assert guard(tmp_path, SETTINGS) == first == fingerprint(SETTINGS) == read_fingerprint(tmp_path)
    assert (tmp_path / MANIFEST).read_bytes() == before


def claimed(folder: Path, settings: Mapping[str, Any]) -> None:
    """A folder that holds an output."""
    guard(folder, settings)
    (folder / "a.json").touch()


def test_other_settings_name_the_keys_that_differ_and_no_others(tmp_path: Path) -> None:
    claimed(tmp_path, SETTINGS)
    changed = {"layers": (1, 2), "sampling": {"seed": 5, "top_p": 1.0}, "adapter": None, "dtype": "float16"}
    with pytest.raises(SettingsChanged) as raised:
        guard(tmp_path, changed)
    message = str(raised.value)
    assert 'dtype: null -> "float16"' in message and '"seed": 0' in message and '"seed": 5' in message
    assert "layers" not in message and "adapter" not in message and "--overwrite" in message
    assert read_fingerprint(tmp_path) == fingerprint(SETTINGS)


def test_a_long_value_is_shortened(tmp_path: Path) -> None:
    claimed(tmp_path, {"text": "a" * 500})
    with pytest.raises(SettingsChanged) as raised:
        guard(tmp_path, {"text": "b" * 500})
    assert len(str(raised.value)) < 600


def test_a_claim_without_outputs_binds_nobody(tmp_path: Path) -> None:
    guard(tmp_path, SETTINGS)
    (tmp_path / ".a.json.host.1.2.tmp").touch()
    other = {**SETTINGS, "adapter": "x"}
    assert guard(tmp_path, other) == fingerprint(other) == read_fingerprint(tmp_path)


def test_what_a_folder_was_made_with(tmp_path: Path) -> None:
    assert read_made_with(tmp_path) == {}
    guard(tmp_path, SETTINGS)
    assert read_made_with(tmp_path) == {**SETTINGS, "layers": [1, 2]}


def test_overwrite_takes_the_folder_over(tmp_path: Path) -> None:
    claimed(tmp_path, SETTINGS)
    guard_numerics(tmp_path, {"device": "cpu"})
    other = {**SETTINGS, "adapter": "x"}
    assert guard(tmp_path, other, overwrite=True) == fingerprint(other) == read_fingerprint(tmp_path)
    guard_numerics(tmp_path, {"device": "gpu"})


def test_numerics_are_noted_once_and_then_held_to(tmp_path: Path) -> None:
    guard(tmp_path, SETTINGS)
    guard_numerics(tmp_path, {"device": "cpu", "threads": 4})
    guard_numerics(tmp_path, {"device": "cpu", "threads": 2})  # nothing was made with four: the note is not binding
    (tmp_path / "one.json").write_text("{}\n")
    guard_numerics(tmp_path, {"device": "cpu", "threads": 2})
    assert read_json(tmp_path / MANIFEST)["numerics"] == {"device": "cpu", "threads": 2}
    with pytest.raises(SettingsChanged, match=r"\(threads: 2 -> 1\)"):
        guard_numerics(tmp_path, {"device": "cpu", "threads": 1})
    assert guard(tmp_path, SETTINGS) == fingerprint(SETTINGS)
    assert read_json(tmp_path / MANIFEST)["numerics"]["threads"] == 2


def test_a_manifest_that_passed_through_json_is_still_the_same(tmp_path: Path) -> None:
    guard(tmp_path, SETTINGS)
    guard_numerics(tmp_path, {"cards": ("a", "b")})
    guard_numerics(tmp_path, {"cards": ("a", "b")})


def big(folder: Path, size: int = 5 << 20) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(bytes(size))
    return folder


def overwrite_byte(path: Path, place: int) -> None:
    with path.open("r+b") as file:
        file.seek(place)
        file.write(b"x")


def test_content_identity_is_that_of_the_content(tmp_path: Path) -> None:
    here, there = big(tmp_path / "here" / "m"), big(tmp_path / "there" / "m")
    identity = content_identity(str(here), None)
    assert content_identity(str(there), "ignored") == identity
    assert set(identity) == {"source", "sha256"} and identity["source"] == "m"
    (there / ".hidden.tmp").touch()
    assert content_identity(str(there), None) == identity


@pytest.mark.parametrize("change", ["first byte", "last byte", "size", "small file", "name", "new file"])
def test_content_identity_changes_with_the_content(tmp_path: Path, change: str) -> None:
    folder = big(tmp_path / "m")
    before, weights = content_identity(str(folder), None), folder / "model.safetensors"
    match change:
        case "first byte":
            overwrite_byte(weights, 0)
        case "last byte":
            overwrite_byte(weights, (5 << 20) - 1)
        case "size":
            weights.write_bytes(bytes((5 << 20) + 1))
        case "small file":
            (folder / "config.json").write_text("[]")
        case "name":
            weights.rename(folder / "other.safetensors")
        case "new file":
            (folder / "empty.json").touch()
    assert content_identity(str(folder), None) != before


def test_a_hub_id_is_known_by_its_revision() -> None:
    assert content_identity("org/model", None) == {"source": "org/model", "revision": "main"}
    assert content_identity("org/model", "abc") != content_identity("org/model", None)


def test_file_hash_is_of_every_byte(tmp_path: Path) -> None:
    folder = big(tmp_path / "m")
    before = file_hash(folder / "model.safetensors")
    overwrite_byte(folder / "model.safetensors", 2_500_000)
    assert file_hash(folder / "model.safetensors") != before


def test_file_sample_hash_is_of_its_ends_and_size(tmp_path: Path) -> None:
    weights = big(tmp_path / "m") / "model.safetensors"
    seen = {file_sample_hash(weights)}
    overwrite_byte(weights, 2_500_000)
    assert file_sample_hash(weights) in seen
    for place in (0, (5 << 20) - 1):
        overwrite_byte(weights, place)
        seen.add(file_sample_hash(weights))
    weights.write_bytes(weights.read_bytes() + b"x")
    assert len(seen | {file_sample_hash(weights)}) == 4
