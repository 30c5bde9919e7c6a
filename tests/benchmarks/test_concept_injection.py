"""The benchmark of mixed batches, small: it does the same work on all sides, and says so where it does not."""

from pathlib import Path

import pytest

from benchmarks import concept_injection
from interp.errors import InterpError

SMALL = ["--rows", "4", "--repeats", "1", "--tokens", "3", "--alone", "2", "--device", "cpu", "--threads", "1"]


def test_a_small_run_writes_its_page(tmp_path: Path, llama_folder: Path) -> None:
    page = tmp_path / "page.md"
    assert concept_injection.main([*SMALL, "--model", str(llama_folder), "--out", str(page)]) == 0
    (row,) = [line for line in page.read_text().splitlines() if line.startswith("| 4 |")]
    assert row.count("|") == 7 and "%" in row


def test_sides_that_reply_otherwise_are_no_comparison(llama_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def respond(*arguments: object) -> list[str]:
        trials = arguments[-1]
        assert isinstance(trials, list)
        return [f"one of {len(trials)}"] * len(trials)

    monkeypatch.setattr(concept_injection, "respond", respond)
    with pytest.raises(InterpError, match="depends on what shares its batch"):
        concept_injection.main([*SMALL, "--model", str(llama_folder)])
