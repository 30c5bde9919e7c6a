"""An analysis is made again when, and only when, something that determines it has changed."""

import os
from pathlib import Path

import pytest

from analysis import compare_readers, freshness, top_activating_responses
from analysis.freshness import is_fresh, made_from, note_made
from interp.paths import OWN_READER
from tests.analysis.synthetic import CLEAN, Synthetic

COLUMN = ("pep", "mean_difference", 1)
OTHER = ("calm", "mean_difference", 1)


@pytest.fixture
def audit(synthetic: Synthetic) -> Synthetic:
    """Two authors, two prompts, two vectors; nothing analysed yet."""
    synthetic.write_config({"x": "pep", "y": None}, ["set"])
    synthetic.write_prompts("set", ["p", "q"])
    for number, author in enumerate(("x", "y")):
        for prompt_id in ("p", "q"):
            synthetic.write_response(author, "set", prompt_id, ["one", " two", "."])
        own = {each: {COLUMN: [1.0, 2.0, 3.0 - number], OTHER: [0.5, 0.0, 0.2]} for each in ("p", "q")}
        clean = {each: {COLUMN: [0.0, 1.0, 0.5], OTHER: [0.0, 0.1, 0.3]} for each in ("p", "q")}
        synthetic.write_pair(author, "set", own, clean)
    for trait in ("pep", "calm"):
        synthetic.write_vector(trait, layers=(1,), auroc=(0.9,))
    return synthetic


def analyse(audit: Synthetic, *flags: str, ranking: tuple[str, ...] = ()) -> None:
    """Both analyses; `ranking`: options that only the second knows."""
    where = ["--experiment", audit.name, "--root", str(audit.root), *flags]
    assert compare_readers.main(where) == 0
    assert top_activating_responses.main([*where, *ranking]) == 0


def identities(audit: Synthetic) -> dict[str, tuple[int, int]]:
    """Every file that the analyses wrote, by the inode and time of its writing."""
    files = [path for path in audit.paths.analysis.rglob("*") if path.is_file()]
    return {str(path): (path.stat().st_ino, path.stat().st_mtime_ns) for path in files}


def rewritten(audit: Synthetic, before: dict[str, tuple[int, int]]) -> set[str]:
    """The analyses whose files have changed since."""
    now = identities(audit)
    changed = [Path(path) for path in now if now[path] != before.get(path)]
    return {path.relative_to(audit.paths.analysis).parts[0] for path in changed}


def test_unchanged_inputs_write_nothing(audit: Synthetic) -> None:
    analyse(audit)
    before = identities(audit)
    assert len(before) > 10
    analyse(audit)
    assert identities(audit) == before


def test_times_are_no_change(audit: Synthetic) -> None:
    analyse(audit)
    before = identities(audit)
    for path in audit.paths.inference.rglob("*"):
        os.utime(path, (1, 1))
    analyse(audit)
    assert identities(audit) == before


@pytest.mark.parametrize("reader", [OWN_READER, CLEAN])
def test_changed_projections_remake_both_analyses(audit: Synthetic, reader: str) -> None:
    analyse(audit)
    before = identities(audit)
    changed = {each: {COLUMN: [9.0, 2.0, 4.0], OTHER: [0.5, 0.0, 0.2]} for each in ("p", "q")}
    audit.write_reading("y", "set", reader, changed)
    analyse(audit)
    assert rewritten(audit, before) == {"compare_readers", "top_activating"}


def test_a_vector_that_separates_otherwise_remakes_the_ranking_that_prints_it(audit: Synthetic) -> None:
    analyse(audit)
    before = identities(audit)
    audit.write_vector("pep", layers=(1,), auroc=(0.7,))
    analyse(audit)
    assert rewritten(audit, before) == {"top_activating"}


@pytest.mark.parametrize("flags", [("--top-n", "1"), ("--mode", "raw")])
def test_another_option_remakes_its_own_analysis(audit: Synthetic, flags: tuple[str, str]) -> None:
    analyse(audit)
    before = identities(audit)
    analyse(audit, ranking=flags)
    assert rewritten(audit, before) == {"top_activating"}


def test_another_truth_in_the_config_remakes_the_grades(audit: Synthetic) -> None:
    analyse(audit)
    before = identities(audit)
    audit.write_config({"x": "calm", "y": None}, ["set"])
    analyse(audit)
    assert rewritten(audit, before) == {"compare_readers"}


def test_an_author_left_out_remakes_both_analyses(audit: Synthetic) -> None:
    analyse(audit)
    before = identities(audit)
    audit.paths.projections("y", "set", CLEAN).unlink()
    analyse(audit)
    assert rewritten(audit, before) == {"compare_readers", "top_activating"}


def test_who_was_left_out_is_said_anew(audit: Synthetic) -> None:
    """The same files are read, but `y` was not asked for this time."""
    audit.paths.projections("y", "set", CLEAN).unlink()
    analyse(audit)
    before = identities(audit)
    analyse(audit, "--model-variant", "x")
    assert rewritten(audit, before) == {"compare_readers", "top_activating"}
    assert not [path for path in audit.paths.analysis.rglob("summary.md") if "Left out" in path.read_text()]


def test_the_note_means_that_the_rest_is_there(audit: Synthetic, monkeypatch: pytest.MonkeyPatch) -> None:
    """An analysis that was killed before its note is made again."""
    monkeypatch.setattr(compare_readers, "note_made", lambda folder, made: None)
    analyse(audit)
    before = identities(audit)
    monkeypatch.undo()
    analyse(audit)
    assert rewritten(audit, before) == {"compare_readers"}


def test_the_code_is_among_what_determines_an_analysis(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in ("analysis", "interp"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "code.py").write_text("one = 1\n")
    monkeypatch.setattr(freshness, "REPOSITORY", tmp_path)
    made = made_from([], {})
    assert made == made_from([], {})
    (tmp_path / "interp" / "code.py").write_text("one = 2\n")
    assert made != made_from([], {})


def test_fresh_is_what_was_noted_last(tmp_path: Path) -> None:
    assert not is_fresh(tmp_path, "x", [])
    note_made(tmp_path, "x")
    assert is_fresh(tmp_path, "x", []) and not is_fresh(tmp_path, "y", [])


def test_a_missing_file_is_made_again(tmp_path: Path) -> None:
    (tmp_path / "table.md").touch()
    note_made(tmp_path, "x")
    assert is_fresh(tmp_path, "x", ["table.md"]) and not is_fresh(tmp_path, "x", ["table.md", "picture.png"])


def test_inputs_count_by_content_and_order_not_by_name(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("a", "b", "c")]
    for path, text in zip(paths, ("1", "2", "1"), strict=True):
        path.write_text(text)
    a, b, c = paths
    assert made_from([a, b], {}) == made_from([c, b], {})
    assert len({made_from([a, b], {}), made_from([b, a], {}), made_from([a], {}), made_from([a, b], {"n": 1})}) == 4
