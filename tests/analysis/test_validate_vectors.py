"""Validation from files: planted slopes, scores and angles come out in the tables."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from analysis import validate_vectors
from interp.errors import InputError
from interp.manifest import file_hash
from interp.records import Provenance
from interp.steering_store import save_steering, steering_path
from interp.vector_store import save_vector, vector_path
from interp.vectors import TraitVector
from tests.analysis.steered import planted_steering
from tests.analysis.synthetic import Synthetic

LAYERS = (1, 4)
METHODS = ("logistic_probe", "mean_difference")
ANGLES = {("mean_difference", 1): 0.0, ("mean_difference", 4): 30.0, ("logistic_probe", 1): 60.0,
          ("logistic_probe", 4): 120.0}  # fmt: skip


def write_vector(synthetic: Synthetic, trait: str, method: str, n_questions: int = 10, scored: bool = True) -> None:
    """Two units long, at a known angle; layer 4 tells all questions apart, layer 1 none."""
    angles = np.radians([ANGLES[method, layer] for layer in LAYERS])
    directions = 2 * torch.from_numpy(np.stack([np.cos(angles), np.sin(angles)], axis=1)).float()
    questions = tuple(0.01 * index for index in range(n_questions))
    positive = (questions, tuple(1.0 + score for score in questions))
    provenance = Provenance(
        trait=trait, method=method, contrast="same-text", positions="response-mean", model="base", revision=None,
        identity="i", layers=LAYERS, norms=(2.0, 2.0), n_pairs=9, n_held_out=n_questions, held_out_auroc=(0.5, 1.0),
        held_out_positive=positive if scored else (), held_out_negative=(questions, questions) if scored else (),
        data_hash="h",
    )  # fmt: skip
    save_vector(synthetic.paths.vectors, TraitVector(directions, directions, directions * 0, provenance))


def steer(synthetic: Synthetic, trait: str, n_items: int = 8) -> None:
    """The mean difference steers best at layer 4; the probe does what a random direction does."""
    vectors = synthetic.paths.vectors

    def slope(method: str, direction: str, layer: int, item: int) -> float:
        text = 0.01 * (item % 3)
        return layer / 10 + text if (method, direction) == ("mean_difference", "vector") else 0.05 + text

    hashes = {method: file_hash(vector_path(vectors, trait, method)) for method in METHODS}
    save_steering(vectors, planted_steering(trait, hashes, LAYERS, n_items, slope, n_random=10))


@pytest.fixture
def validated(synthetic: Synthetic) -> Synthetic:
    synthetic.write_config({"pep_organism": "pep"}, ["discovery"], LAYERS)
    for trait in ("flattery", "pep"):
        for method in METHODS:
            write_vector(synthetic, trait, method)
        steer(synthetic, trait)
    return synthetic


def run(synthetic: Synthetic, *flags: str) -> Path:
    assert validate_vectors.main(["--experiment", synthetic.name, "--root", str(synthetic.root), *flags]) == 0
    return synthetic.paths.analysis / "validate_vectors"


def rows(folder: Path, name: str) -> list[dict[str, Any]]:
    return list(csv.DictReader((folder / f"{name}.csv").read_text().splitlines()))


def test_tables_say_what_was_planted(validated: Synthetic) -> None:
    folder = run(validated)
    chosen = [row for row in rows(folder, "separation") if row["chosen"] == "1"]
    assert {(row["layer"], row["auroc"], row["n_questions"]) for row in chosen} == {("4", "1", "10")}
    assert {row["auroc"] for row in rows(folder, "separation") if row["layer"] == "1"} == {"0.5"}
    steering = {(row["trait"], row["method"]): row for row in rows(folder, "steering") if row["chosen"] == "1"}
    best = steering["pep", "mean_difference"]
    assert (best["layer"], best["steers"], best["norm"], best["n_texts"]) == ("4", "1", "2", "4")
    assert float(best["slope"]) == pytest.approx(0.4 + 0.01 * np.mean([1, 0, 2, 1]))
    assert best["p"] == f"{1 / 21:.4f}" and steering["pep", "logistic_probe"]["p"] == f"{11 / 21:.4f}"
    assert float(best["random_largest"]) == pytest.approx(0.05 + 0.01) and best["coherence_lowest"] == "-0.4"
    assert steering["pep", "logistic_probe"]["steers"] == "0"
    doses = [row for row in rows(folder, "dose_response") if row["direction"] == "vector" and row["layer"] == "4"]
    assert len(doses) == 2 * 2 * 4 and len(rows(folder, "dose_response")) == len(doses) * 2 * 11
    assert float(doses[0]["shift"]) == pytest.approx(-2 * (0.05 + 0.01 * np.mean([0, 1, 2, 0, 1, 2, 0, 1])))


def test_cosines_are_those_of_the_angles(validated: Synthetic) -> None:
    found = rows(run(validated), "agreement")
    assert len(found) == 2 * 4  # two layers of either method, two methods at either layer
    for row in found:
        angle = ANGLES[row["method"], int(row["layer"])] - ANGLES[row["other_method"], int(row["other_layer"])]
        assert float(row["cosine"]) == pytest.approx(np.cos(np.radians(angle)), abs=1e-5)
        assert (row["method"] == row["other_method"]) != (row["layer"] == row["other_layer"])


def test_summary_counts_what_steers_and_names_what_is_left_out(validated: Synthetic) -> None:
    write_vector(validated, "joy", "mean_difference", scored=False)
    write_vector(validated, "spite", "mean_difference", n_questions=3)
    text = (run(validated) / "summary.md").read_text()
    assert "**2 of 4 vectors steer.**" in text and "| pep | mean_difference | 4 own-answers | 4 | 0.410 |" in text
    assert "Left out: joy mean_difference: no held-out scores (extract again with --overwrite)." in text
    assert "Left out: joy: not steered yet" in text
    assert "Left out: spite mean_difference: fewer than 4 held-out questions." in text
    assert (run(validated) / "dose_response.png").read_bytes().startswith(b"\x89PNG")


def test_traits_and_methods_can_be_chosen(validated: Synthetic) -> None:
    folder = run(validated, "--traits", "pep", "--methods", "mean_difference")
    for name in ("separation", "steering", "dose_response", "agreement"):
        assert {(row["trait"], row["method"]) for row in rows(folder, name)} == {("pep", "mean_difference")}


def test_vectors_alone_can_be_validated_before_any_steering(synthetic: Synthetic) -> None:
    synthetic.write_config({"pep_organism": "pep"}, ["discovery"], LAYERS)
    with pytest.raises(InputError, match="no trait vectors in"):
        run(synthetic)
    write_vector(synthetic, "pep", "mean_difference")
    folder = run(synthetic)
    assert "## Steering" not in (folder / "summary.md").read_text() and not rows(folder, "steering")
    assert not (folder / "dose_response.png").exists()


def test_too_few_texts_are_said_and_not_halved(validated: Synthetic) -> None:
    steer(validated, "pep", n_items=3)
    folder = run(validated)
    assert "Left out: pep: fewer than 4 texts to read steering on." in (folder / "summary.md").read_text()
    assert {row["trait"] for row in rows(folder, "steering")} == {"flattery"}


def test_steering_with_vectors_that_have_changed_since_is_refused(validated: Synthetic) -> None:
    path = vector_path(validated.paths.vectors, "pep", "logistic_probe")
    write_vector(validated, "pep", "logistic_probe", n_questions=11)
    with pytest.raises(InputError, match=r"another logistic_probe.safetensors: steer again with --overwrite"):
        run(validated)
    path.unlink()
    with pytest.raises(InputError, match="another logistic_probe"):
        run(validated)


def test_same_inputs_are_not_validated_again_and_give_the_same_bytes(validated: Synthetic) -> None:
    folder = run(validated)
    before = {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.iterdir()}
    run(validated)
    assert {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.iterdir()} == before
    (folder / "_made_from.json").unlink()
    run(validated)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {n: b for n, (b, _) in before.items()}
    steering_path(validated.paths.vectors, "pep").unlink()
    run(validated)
    assert "Left out: pep: not steered yet" in (folder / "summary.md").read_text()
