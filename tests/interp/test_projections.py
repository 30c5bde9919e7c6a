"""Projection files: rows in a fixed order, the same bytes for the same rows, torn ones said."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from interp.errors import InputError
from interp.projections import NORMS, SCORES, read_scores, read_settings, read_table, write_norms, write_scores

IDS, TRAITS, LAYERS = ("a", "b", "c"), ("pep", "flattery"), (2, 10)


def scores_of(trait: str, layer: int, prompt_id: str) -> list[float]:
    return [float(len(trait)), float(layer), float(ord(prompt_id))][: 1 + ord(prompt_id) % 3]


def rows() -> list[dict[str, Any]]:
    return [
        {
            "prompt_id": prompt_id, "trait": trait, "method": "diff", "layer": layer, "vector": "h",
            "mean": float(np.float32(np.mean(scores_of(trait, layer, prompt_id)))), "cosine": 0.5,
            "scores": scores_of(trait, layer, prompt_id), "null_means": [1.0, -2.0],
        }
        for prompt_id in IDS for layer in LAYERS for trait in TRAITS
    ]  # fmt: skip


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "projections" / "self.parquet"
    write_scores(path, pa.Table.from_pylist(rows(), SCORES), "settings!")
    return path


def test_rows_come_back_in_their_order(path: Path) -> None:
    table = read_table(path)
    assert table.schema.equals(SCORES)
    expected = sorted(rows(), key=lambda row: (row["trait"], row["method"], row["layer"], row["prompt_id"]))
    assert table.to_pylist() == expected
    assert read_table(path, ["layer"]).column_names == ["layer"]
    assert read_settings(path) == "settings!"


def test_same_rows_same_bytes_whatever_their_order(path: Path, tmp_path: Path) -> None:
    write_scores(tmp_path / "other.parquet", pa.Table.from_pylist(rows()[::-1], SCORES), "settings!")
    assert (tmp_path / "other.parquet").read_bytes() == path.read_bytes()


def test_scores_by_column_and_prompt(path: Path) -> None:
    wanted = [("pep", "diff", 10), ("flattery", "diff", 2)]
    found = read_scores(path, wanted)
    assert list(found) == wanted
    for (trait, _, layer), of_prompt in found.items():
        assert {name: scores.tolist() for name, scores in of_prompt.items()} == {
            name: scores_of(trait, layer, name) for name in IDS
        }


@pytest.mark.parametrize("lacking", [("joy", "diff", 2), ("pep", "probe", 2), ("pep", "diff", 3)])
def test_a_column_that_is_not_there_is_said(path: Path, lacking: tuple[str, str, int]) -> None:
    with pytest.raises(InputError, match="has no scores for"):
        read_scores(path, [("pep", "diff", 2), lacking])


def test_norms(tmp_path: Path) -> None:
    table = [{"prompt_id": name, "layer": layer, "norms": [1.0, 2.0]} for name in "ba" for layer in (10, 2)]
    write_norms(tmp_path / "n.parquet", pa.Table.from_pylist(table, NORMS), "s")
    expected = sorted(table, key=lambda row: (row["layer"], row["prompt_id"]))
    assert read_table(tmp_path / "n.parquet").to_pylist() == expected


def test_no_rows_is_a_file_too(tmp_path: Path) -> None:
    write_scores(tmp_path / "x.parquet", pa.Table.from_pylist([], SCORES), "s")
    assert read_table(tmp_path / "x.parquet").num_rows == 0
    assert read_scores(tmp_path / "x.parquet", []) == {}


@pytest.mark.parametrize("cut", [0, 10, -5])
def test_torn_files_are_one_line(path: Path, cut: int) -> None:
    path.write_bytes(path.read_bytes()[:cut])
    for read in (read_table, read_settings):
        with pytest.raises(InputError, match=r"self\.parquet is torn .*project again") as raised:
            read(path)
        assert "\n" not in str(raised.value)


def test_a_missing_file_says_what_to_run(tmp_path: Path) -> None:
    for read in (read_table, read_settings):
        with pytest.raises(InputError, match=r"does not exist; run inference/project_raw_activations_onto_traits\.py"):
            read(tmp_path / "x.parquet")
