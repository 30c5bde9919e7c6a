"""The benchmark on a toy: its tables are whole, and both sides find the same. Never how long anything took."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from benchmarks import overnight
from benchmarks.comparison import STAGES
from benchmarks.cut_down import evenly_spaced
from benchmarks.forced_pass import BARE, CAPTURE, CAPTURE_HALF, HIDDEN_STATES, TRUNCATED
from benchmarks.report import Result
from benchmarks.stopwatch import OTHER, Stopwatch
from interp.records import parse_record


class Written(NamedTuple):
    """What a run of the benchmark leaves."""

    page: str
    content: Any
    result: Result


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Written:
    """The real main, on the tiny preset."""
    root, output = tmp_path_factory.mktemp("root"), tmp_path_factory.mktemp("results")
    assert overnight.main(["--tiny", "--root", str(root), "--output", str(output)]) == 0
    (page,), (data,) = output.glob("overnight_*.md"), output.glob("overnight_*.json")
    assert page.stem == data.stem
    content = json.loads(data.read_text())
    return Written(page.read_text(), content, parse_record(Result, content, data))


@pytest.mark.slow
class TestTiny:
    def test_both_sides_generate_the_same_tokens(self, written: Written) -> None:
        found = written.result.comparison.agreement
        assert found.responses == found.same_tokens == 2 * sum(written.result.comparison.prompts.values())
        assert found.response_tokens > 0

    def test_both_sides_agree_on_the_projections(self, written: Written) -> None:
        comparison = written.result.comparison
        found = comparison.agreement
        assert found.readings == 2 * found.responses
        assert found.readings_compared + sum(found.readings_left_out.values()) == found.readings
        assert found.projections_compared == found.readings_compared * comparison.vectors * len(comparison.layers) > 0
        assert found.largest_difference <= 1e-2 * found.spread
        assert found.correlation > 0.9999

    def test_stages_add_up_to_the_whole(self, written: Written) -> None:
        for sides in written.result.comparison.repeats:
            for run in sides.values():
                total = sum(report.total.wall for report in run.phases.values())
                assert sum(read(run).wall for read in STAGES.values()) == pytest.approx(total)

    def test_every_stage_was_seen_on_both_sides(self, written: Written) -> None:
        for run in written.result.comparison.repeats[0].values():
            for stage, read in STAGES.items():
                assert read(run).wall > 0, stage

    def test_captures_are_those_of_the_bare_pass(self, written: Written) -> None:
        own, bigger = written.result.forced_passes
        assert own.identical
        assert bigger.identical
        assert {way.name for way in own.ways} == {TRUNCATED, BARE, HIDDEN_STATES, CAPTURE, CAPTURE_HALF}
        assert len({len(way.repeats) for way in own.ways}) == 1

    def test_the_page_has_every_row(self, written: Written) -> None:
        rows = {line.split("|")[1].strip() for line in written.page.splitlines() if line.startswith("|")}
        assert {*STAGES, "**whole audit**", "bytes on disk", "peak memory above the imports"} <= rows
        assert {TRUNCATED, BARE, HIDDEN_STATES, CAPTURE, CAPTURE_HALF} <= rows
        assert written.page.count("### ") == 2

    def test_nothing_tells_where_it_was_made(self, written: Written) -> None:
        text = written.page + json.dumps(written.content)
        assert str(Path.cwd()) not in text
        assert str(Path.home()) not in text
        assert "/tmp" not in text


def test_a_stage_counts_for_itself_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clock: 0 made, 1 outer begins, 3 inner begins, 6 inner ends, 10 outer ends, 15 the last lap."""
    ticks = iter([0.0, 1.0, 3.0, 6.0, 10.0, 15.0])
    monkeypatch.setattr("time.perf_counter", lambda: next(ticks))
    watch = Stopwatch()
    with watch.stage("outer"), watch.stage("inner"):
        pass
    watch.lap()
    assert {name: cost.wall for name, cost in watch.stages.items()} == {OTHER: 6.0, "outer": 6.0, "inner": 3.0}


def test_evenly_spaced_keeps_both_ends() -> None:
    assert evenly_spaced(range(16), 4) == [0, 5, 10, 15]
    assert evenly_spaced("abc", 1) == ["a"]
    assert evenly_spaced("abc", 5) == ["a", "b", "c"]
