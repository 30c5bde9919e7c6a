"""Both readers' projections joined by prompt, from files that the real writer wrote."""

import random

import numpy as np
import pyarrow as pa
import pytest

from analysis.readings import _wide as wide
from analysis.readings import projected_authors, projection_files, read_paired
from interp.paths import OWN_READER
from interp.projections import SCORES, Column, read_table, write_scores
from tests.analysis.synthetic import CLEAN, SETTINGS, Synthetic

A1: Column = ("a", "mean_difference", 1)
A10: Column = ("a", "mean_difference", 10)
A2: Column = ("a", "mean_difference", 2)
B1: Column = ("b", "logistic_probe", 1)
ALL = (B1, A10, A2, A1)


@pytest.fixture
def one(synthetic: Synthetic) -> Synthetic:
    """One author with two prompt sets, whose prompts share their ids."""
    synthetic.write_config({"x": "a"}, ["first", "second"])
    return synthetic


def scores(seed: int, ids: str, columns: tuple[Column, ...] = ALL) -> dict[str, dict[Column, list[float]]]:
    draw = random.Random(seed)
    return {each: {column: [draw.gauss(0, 1) for _ in range(4)] for column in columns} for each in ids}


def test_a_prompt_is_a_row_and_a_column_a_trait_method_and_layer(one: Synthetic) -> None:
    written = {"first": scores(1, "pqr"), "second": scores(2, "rp")}
    for name, of_set in written.items():
        one.write_reading("x", name, OWN_READER, of_set)
    table = wide(one.experiment, "x", ["first", "second"], OWN_READER)
    assert table.prompts == (("first", "p"), ("first", "q"), ("first", "r"), ("second", "p"), ("second", "r"))
    assert sorted(table.columns) == [A1, A2, A10, B1]
    for row, (name, prompt_id) in enumerate(table.prompts):
        for place, column in enumerate(table.columns):
            mean = np.mean(written[name][prompt_id][column])
            assert table.values["mean"][row, place] == pytest.approx(mean, rel=1e-6)
            assert table.values["cosine"][row, place] == pytest.approx(mean / 10, rel=1e-6)


def test_the_readers_are_joined_by_prompt_not_by_row(one: Synthetic) -> None:
    """The clean reading lacks prompts and columns and was given in another order."""
    own, clean = scores(1, "pqrs"), scores(2, "srq", (A2, A1, B1))
    one.write_pair("x", "first", own, clean)
    paired = read_paired(one.experiment, "x", ["first"])
    assert paired.author == "x"
    assert paired.prompts == (("first", "q"), ("first", "r"), ("first", "s"))
    assert set(paired.columns) == {A1, A2, B1}
    for row, (_, prompt_id) in enumerate(paired.prompts):
        for place, column in enumerate(paired.columns):
            expected = np.mean(own[prompt_id][column]) - np.mean(clean[prompt_id][column])
            assert paired.difference[row, place] == pytest.approx(expected, abs=1e-6)
            assert paired.cosine_difference[row, place] == pytest.approx(expected / 10, abs=1e-6)


def test_prompt_sets_keep_their_prompts_apart(one: Synthetic) -> None:
    for seed, name in enumerate(("first", "second")):
        one.write_pair("x", name, scores(seed, "pq"), scores(seed + 10, "pq"))
    both = read_paired(one.experiment, "x", ["first", "second"])
    for name in ("first", "second"):
        alone = read_paired(one.experiment, "x", [name])
        rows = [row for row, (of_set, _) in enumerate(both.prompts) if of_set == name]
        np.testing.assert_array_equal(both.difference[rows], alone.difference)
    assert len(both.prompts) == 4


def test_a_score_that_is_missing_is_nan_and_not_zero(one: Synthetic) -> None:
    own = scores(1, "pq", (A1, A2))
    del own["p"][A2]
    one.write_pair("x", "first", own, scores(2, "pq", (A1, A2)))
    paired = read_paired(one.experiment, "x", ["first"])
    missing = np.isnan(paired.difference)
    assert missing.tolist() == [[column == A2 for column in paired.columns], [False, False]]


def test_kept_means_have_no_cosines(one: Synthetic) -> None:
    """What `--keep pooled` leaves: no token scores, and null for the cosine."""
    for reader in (OWN_READER, CLEAN):
        row = {"prompt_id": "p", "trait": "a", "method": "mean_difference", "layer": 1, "vector": "v", "mean": 2.0}
        table = pa.Table.from_pylist([{**row, "cosine": None, "scores": [], "null_means": []}], SCORES)
        write_scores(one.paths.projections("x", "first", reader), table, SETTINGS)
    paired = read_paired(one.experiment, "x", ["first"])
    assert paired.difference.tolist() == [[0.0]]
    assert np.isnan(paired.cosine_difference).all()


def test_authors_without_a_whole_file_by_each_reader_are_left_out(synthetic: Synthetic) -> None:
    authors = ["whole", "torn", "unread", "no_second"]
    synthetic.write_config(dict.fromkeys(authors, "a"), ["first", "second"])
    for author in authors:
        for name in ("first", "second"):
            synthetic.write_pair(author, name, scores(1, "p"), scores(2, "p"))
    torn = synthetic.paths.projections("torn", "second", OWN_READER)
    torn.write_bytes(torn.read_bytes()[:-3])
    synthetic.paths.projections("unread", "first", CLEAN).unlink()
    synthetic.paths.projections("no_second", "second", OWN_READER).unlink()
    found = projected_authors(synthetic.experiment, authors, ["first", "second"])
    assert found == (["whole"], ["torn", "unread", "no_second"])
    assert projected_authors(synthetic.experiment, authors, ["first"])[0] == ["whole", "torn", "no_second"]


def test_files_are_named_in_a_fixed_order(synthetic: Synthetic) -> None:
    synthetic.write_config({"x": "a", "y": "a"}, ["first", "second"])
    paths = projection_files(synthetic.experiment, ["y", "x"], ["second", "first"])
    assert [path.relative_to(synthetic.paths.inference).as_posix() for path in paths] == [
        f"{author}/projections/{name}/{reader}.parquet"
        for author in ("y", "x")
        for name in ("second", "first")
        for reader in ("self", "instruct")
    ]


def test_what_was_written_is_what_is_read(one: Synthetic) -> None:
    """The fixture's own writing: rows sorted, scores whole."""
    written = scores(3, "qp", (A10, A2))
    one.write_reading("x", "first", OWN_READER, written)
    rows = read_table(one.paths.projections("x", "first", OWN_READER)).to_pylist()
    assert [(row["layer"], row["prompt_id"]) for row in rows] == [(2, "p"), (2, "q"), (10, "p"), (10, "q")]
    np.testing.assert_allclose(rows[1]["scores"], written["q"][A2], rtol=1e-6)
