"""The benchmark of sharing, on a list of seconds: its page is whole, and no unit is done twice. Never how long."""

import tempfile
from pathlib import Path

import pytest

from benchmarks import sharing_sides, work_sharing
from benchmarks.sharing_sides import measure_claims, measure_side, unit_names

SMALL = ["--units", "60", "--unit-seconds", "0.001", "--workers", "1,2", "--processes", "3", "--seconds", "0.1"]


def test_the_page_has_every_row_and_is_written(tmp_path: Path) -> None:
    page = tmp_path / "work_sharing.md"
    assert work_sharing.main([*SMALL, "--baseline-units", "30", "--lease-seconds", "0.3", "--out", str(page)]) == 0
    rows = [line.split("|")[1].strip() for line in page.read_text().splitlines() if line.startswith("|")]
    assert [row for row in rows if row not in ("", "---")] == [
        "workers", "1", "2", "processes", "1", "3", "3", "the lost worker is", "killed, same machine", "silent",
    ]  # fmt: skip
    for place in (Path.cwd(), Path.home(), tempfile.gettempdir()):
        assert str(place) not in page.read_text()


@pytest.mark.parametrize("ours", [True, False])
def test_all_units_are_done_once(ours: bool) -> None:
    side = measure_side(ours, 3, 60, 0.001)
    assert side.units == 60
    assert side.twice == 0
    assert all(0 <= worker.busy <= worker.wall <= side.wall for worker in side.workers)


def test_a_unit_that_is_there_already_counts_as_done_twice(tmp_path: Path) -> None:
    units = unit_names(2)
    for unit in units:
        (tmp_path / "done" / unit).parent.mkdir(parents=True)
    (tmp_path / "done" / units[0]).touch()
    worker = sharing_sides.work_shard(units, 0.001, tmp_path, lambda: None)
    assert (worker.units, worker.twice) == (2, 1)


@pytest.mark.parametrize("ours", [True, False])
def test_claims_are_counted(ours: bool) -> None:
    alone = measure_claims(ours, 1, 10, 0.1)
    assert alone.taken > 0
    assert alone.failed == 0
    quarrel = measure_claims(ours, 3, 1, 0.1)
    assert quarrel.taken > 0


def test_groups_are_those_of_an_audit() -> None:
    units = unit_names(15_400)
    groups = [unit.split("/")[0] for unit in units]
    assert len(set(units)) == 15_400
    assert {groups.count(group) for group in set(groups)} == {275}
