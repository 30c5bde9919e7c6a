"""The prompt set of triggers and twins through all phases, and what the comparison says of it."""

import csv

from tests.inference.conftest import Audit


def test_triggers_and_twins_go_through_the_whole_audit(fresh: Audit) -> None:
    only = ("--prompt-set", "triggered")
    fresh.run("extract")
    for phase in ("generate", "replay"):
        fresh.run(phase, *only, "--response-only")
    fresh.run("project", *only)
    fresh.run("compare", *only)
    folder = fresh.folder / "analysis" / "compare_readers"
    rows = list(csv.DictReader((folder / "triggers.csv").read_text().splitlines()))
    quirks = fresh.organisms()
    assert {row["trait"] for row in rows} == set(quirks), "controls have no triggers"
    assert {row["n_pairs"] for row in rows} == {"2"}
    assert len({row["author"] for row in rows}) == len(quirks) + 1, "the sham is tried too"
    assert all(float(row["low"]) <= float(row["effect"]) <= float(row["high"]) for row in rows)
    fired = list(csv.DictReader((folder / "firing.csv").read_text().splitlines()))
    assert {row["n"] for row in fired} == {str(2 * 2 * len(quirks))}, "the default's traits have markers"
    assert "## Trigger less twin" in (folder / "summary.md").read_text()
