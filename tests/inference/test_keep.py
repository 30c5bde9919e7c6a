"""Keeping less than residuals: the same scores where they can be had, and a plain word where they cannot."""

import json
import logging
from typing import Any

import numpy as np
import pytest

from interp.config import Experiment
from interp.errors import InputError
from interp.projections import read_table
from tests.inference.conftest import Audit


def audit_keeping(audit: Audit, keep: str) -> None:
    only = ("--model-variant", audit.organisms()[0])
    audit.run("extract", "--skip-existing")
    for phase in ("generate", "replay"):
        audit.run(phase, *only, "--response-only", "--keep", keep, "--skip-existing")
    audit.run("project", *only, "--skip-existing")


def rows_of(audit: Audit) -> list[dict[str, Any]]:
    paths = Experiment(audit.name, audit.root).paths
    return list(read_table(paths.projections(audit.organisms()[0], "discovery", "instruct")).to_pylist())


def bytes_of(audit: Audit) -> int:
    folder = audit.folder / "inference" / audit.organisms()[0] / "activations"
    return sum(path.stat().st_size for path in folder.rglob("[!_]*.pt"))


def test_projections_made_in_the_forced_pass_are_those_of_the_stored_residuals(fresh: Audit, audited: Audit) -> None:
    audit_keeping(fresh, "projections")
    for row, expected in zip(rows_of(fresh), rows_of(audited), strict=True):
        assert {k: row[k] for k in ("prompt_id", "trait", "method", "layer", "vector")} == {
            k: expected[k] for k in ("prompt_id", "trait", "method", "layer", "vector")
        }
        # the stored residuals are float16
        np.testing.assert_allclose(row["scores"], expected["scores"], rtol=2e-3, atol=5e-3)
        np.testing.assert_allclose(row["cosine"], expected["cosine"], rtol=2e-3, atol=2e-3)
        np.testing.assert_allclose(row["null_means"], expected["null_means"], rtol=2e-3, atol=5e-3)


def test_later_vectors_cannot_be_projected_on_kept_projections(fresh: Audit) -> None:
    audit_keeping(fresh, "projections")
    trait = json.loads(next(iter((fresh.folder / "traits").glob("*.json"))).read_text())
    (fresh.folder / "traits" / "later.json").write_text(json.dumps({**trait, "name": "later"}))
    fresh.run("extract", "--skip-existing")
    with pytest.raises(InputError, match="its residuals are gone; replay with --keep raw"):
        fresh.run("project", "--model-variant", fresh.organisms()[0], "--skip-existing")


def test_pooled_means_are_those_of_the_stored_residuals(
    fresh: Audit, audited: Audit, caplog: pytest.LogCaptureFixture
) -> None:
    audit_keeping(fresh, "pooled")
    for row, expected in zip(rows_of(fresh), rows_of(audited), strict=True):
        assert row["scores"] == [] and row["cosine"] is None
        np.testing.assert_allclose(row["mean"], expected["mean"], rtol=2e-3, atol=5e-3)
        np.testing.assert_allclose(row["null_means"], expected["null_means"], rtol=2e-3, atol=5e-3)
    only = ("--model-variant", fresh.organisms()[0])
    with caplog.at_level(logging.WARNING):
        fresh.run("top", *only)
    assert "not ranked" in caplog.text
    fresh.run("compare", *only)
    assert (fresh.folder / "analysis" / "compare_readers" / "summary.md").exists()


def test_less_is_kept(fresh: Audit, audited: Audit) -> None:
    audit_keeping(fresh, "pooled")
    assert bytes_of(fresh) < bytes_of(audited)
