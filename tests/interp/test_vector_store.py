"""Trait vectors on disk: whole, with their provenance, of this model; anything else is refused before work starts."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from interp.errors import InputError
from interp.records import Provenance
from interp.vector_store import list_vectors, load_checked, load_vector, read_provenance, save_vector, vector_path
from interp.vectors import TraitVector

LAYERS, D = (2, 5), 8


def made(trait: str = "pep", method: str = "mean_difference", width: int = D) -> TraitVector:
    provenance = Provenance(
        trait=trait, method=method, contrast="same-text", positions="response-mean", model="org/m", revision=None,
        identity="i", layers=LAYERS, norms=(1.5, 2.5), n_pairs=9, n_held_out=3, held_out_auroc=(0.9, 1.0),
        data_hash="h – ü",
    )  # fmt: skip
    directions, positive, negative = torch.randn(3, 2, width, generator=torch.Generator().manual_seed(1))
    return TraitVector(directions, positive, negative, provenance)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    save_vector(tmp_path, made())
    return vector_path(tmp_path, "pep", "mean_difference")


def test_comes_back_as_it_was(path: Path) -> None:
    before, after = made(), load_vector(path)
    assert after.provenance == before.provenance == read_provenance(path)
    for name in ("directions", "positive_mean", "negative_mean"):
        assert torch.equal(getattr(after, name), getattr(before, name))


def test_same_vector_same_bytes(path: Path, tmp_path: Path) -> None:
    save_vector(tmp_path / "elsewhere", made())
    assert vector_path(tmp_path / "elsewhere", "pep", "mean_difference").read_bytes() == path.read_bytes()


def rewrite(path: Path, tensors: dict[str, Any] | None = None, metadata: dict[str, str] | None = None) -> None:
    provenance = {"provenance": made().provenance.model_dump_json()}
    save_file({**load_file(path), **(tensors or {})}, path, provenance if metadata is None else metadata)


def _without_layer(provenance: str) -> str:
    return json.dumps({**json.loads(provenance), "layers": [2]})


PROVENANCE = made().provenance.model_dump_json()
SPOILT: dict[str, tuple[Any, str]] = {
    "torn": (lambda path: path.write_bytes(path.read_bytes()[:-20]), "not a whole safetensors file"),
    "beheaded": (lambda path: path.write_bytes(path.read_bytes()[:5]), "not a whole safetensors file"),
    "empty": (lambda path: path.write_bytes(b""), "not a whole safetensors file"),
    "text": (lambda path: path.write_text("hello, this is no tensor file"), "not a whole safetensors file"),
    "missing": (lambda path: path.unlink(), "not a whole safetensors file"),
    "foreign": (lambda path: save_file({"weight": torch.zeros(2)}, path), "no trait vector of ours"),
    "without provenance": (lambda path: rewrite(path, metadata={"format": "pt"}), "no trait vector of ours"),
    "provenance is no JSON": (lambda path: rewrite(path, metadata={"provenance": "{"}), "provenance is not JSON"),
    "provenance lacks a key": (lambda path: rewrite(path, metadata={"provenance": "{}"}), "trait: Field required"),
    "provenance of other layers": (
        lambda path: rewrite(path, metadata={"provenance": _without_layer(PROVENANCE)}),
        r"not \[1 layers, d_model\]",
    ),
    "another tensor": (lambda path: rewrite(path, {"more": torch.zeros(1)}), "other tensors than a trait vector"),
    "flat": (lambda path: rewrite(path, {"directions": torch.zeros(2)}), r"not \[2 layers, d_model\]"),
    "means of another width": (lambda path: rewrite(path, {"positive_mean": torch.zeros(2, 3)}), "not .2 layers"),
    "not finite": (lambda path: rewrite(path, {"directions": torch.full((2, D), torch.nan)}), "not finite"),
}


@pytest.mark.parametrize("how", SPOILT)
def test_anything_else_is_one_line(path: Path, how: str) -> None:
    spoil, message = SPOILT[how]
    spoil(path)
    with pytest.raises(InputError, match=message) as raised:
        load_vector(path)
    assert str(path) in str(raised.value) and "\n" not in str(raised.value)


def test_vectors_are_listed_in_a_fixed_order(tmp_path: Path) -> None:
    for trait, method in [("pep", "probe"), ("pep", "diff"), ("flattery", "diff"), ("spite", "probe")]:
        save_vector(tmp_path, made(trait, method))
    assert list_vectors(tmp_path / "nowhere") == []

    def listed(*asked: list[str] | None) -> list[str]:
        return [f"{path.parent.name}/{path.stem}" for path in list_vectors(tmp_path, *asked)]

    assert listed() == ["flattery/diff", "pep/diff", "pep/probe", "spite/probe"]
    assert listed(["pep"]) == ["pep/diff", "pep/probe"] and listed(None, ["diff"]) == ["flattery/diff", "pep/diff"]
    assert listed(["pep"], ["probe"]) == ["pep/probe"]
    with pytest.raises(InputError, match=r"no vectors for joy in .*; there are: flattery, pep, spite"):
        listed(["pep", "joy"])
    with pytest.raises(InputError, match=r"no vectors for pca in .*; there are: diff, probe"):
        listed(None, ["pca"])
    with pytest.raises(InputError, match="no vector for spite by diff in"):
        listed(["pep", "spite"], ["diff"])


def test_vectors_must_have_the_layers_and_the_width_of_the_residuals(path: Path, tmp_path: Path) -> None:
    assert [vector.trait for vector in load_checked([path], (5, 2), D)] == ["pep"]
    assert len(load_checked([path], (2,), None)) == 1
    with pytest.raises(InputError, match=r"has layers \[2, 5\], not \[7, 9\]; extract it with --layers"):
        load_checked([path], (9, 2, 7), D)
    with pytest.raises(InputError, match="has d_model 8, not 16: it is from another model"):
        load_checked([path], (2,), 16)
    save_vector(tmp_path, made("wide", width=16))
    with pytest.raises(InputError, match=r"wide.* has d_model 16, not 8"):
        load_checked([path, vector_path(tmp_path, "wide", "mean_difference")], (2,), None)
