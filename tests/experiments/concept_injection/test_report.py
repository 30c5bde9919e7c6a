"""The report's files: from a sweep's folder, through a judge, to tables, export, summary and page."""

import csv
import io
import json
import re
import shutil
from collections import defaultdict
from collections.abc import Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from experiments.concept_injection import report_html
from experiments.concept_injection.paths import SweepPaths
from experiments.concept_injection.report import main
from experiments.concept_injection.results import STALE
from interp.errors import InputError
from interp.files import write_json
from interp.jsonl import read_lines
from interp.judges.rubrics import Rubric
from interp.judges.scripted import Rates as JudgeRates
from interp.judges.verdicts import VerdictFile, verdict_path
from interp.stats import wilson
from tests.experiments.concept_injection.sweeps import TRUTHS, judge_sweep, line_of, request_of, write_sweep

FILES = {"rates.csv", "log_odds.csv", "joined.jsonl", "summary.md", "report.html"}
FIGURES = {"dose_response.png", "dose_response.svg"}
HOSTILE = "Yes, about fear. </script><script>alert(1)</script><img src=x onerror=alert(2)>"


class DataReader(HTMLParser):
    """The elements of a page, and the data that its script reads."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""
        self._inside = False
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self._inside = dict(attributes).get("id") == "data"

    def handle_data(self, data: str) -> None:
        self.text += data if self._inside else ""

    def handle_endtag(self, tag: str) -> None:
        self._inside = False


def report(paths: SweepPaths, *flags: str) -> Path:
    """Make the report; its folder."""
    where = ["--experiment-id", paths.experiment_id, "--model", paths.model_name, "--root", str(paths.root)]
    assert main([*where, *flags]) == 0
    return paths.folder / "report"


def data_of(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(DataReader((folder / "report.html").read_text()).text)
    return found


def table(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_text())))


def row_of(folder: Path, name: str = "rates.csv", **wanted: object) -> Mapping[str, str]:
    found = [row for row in table(folder / name) if all(row[key] == str(value) for key, value in wanted.items())]
    assert len(found) == 1
    return found[0]


# --- The whole path ---------------------------------------------------------------------------------------------------


def test_from_replies_through_the_judge_to_rates(tmp_path: Path) -> None:
    hits: dict[str, list[bool]] = defaultdict(list)
    for seed in range(6):
        paths = write_sweep(tmp_path / str(seed), request_of(), seed=seed)
        judge_sweep(paths)
        folder = report(paths)
        assert {path.name for path in folder.iterdir()} == FILES | FIGURES
        for concept in ("all", "fear", "ocean"):
            for condition in TRUTHS.keys() - {"control"}:
                row = row_of(folder, concept=concept, condition=condition, layer="all", strength="all")
                truth = TRUTHS[condition]
                hits["named"].append(float(row["named_low"]) <= truth.named <= float(row["named_high"]))
                hits["claims"].append(float(row["claims_low"]) <= truth.claims <= float(row["claims_high"]))
        control = row_of(folder, condition="control")
        hits["false alarms"].append(float(control["claims_low"]) <= 0.06 <= float(control["claims_high"]))
    assert {name: np.mean(found) >= 0.8 for name, found in hits.items()} == dict.fromkeys(hits, True)


def test_the_rows_are_those_of_the_replies(tmp_path: Path) -> None:
    paths = write_sweep(tmp_path, request_of())
    judge_sweep(paths)
    folder = report(paths)
    replies = [row for row in read_lines(paths.records("fear")) if row["id"].startswith("fear_injection_L20_S4.0_")]
    named = sum(row["response"].startswith("Yes, about fear") for row in replies)
    row = row_of(folder, concept="fear", condition="injection", layer=20, strength=4.0)
    expected = wilson(named, 20)
    assert (row["trials"], row["named"], row["interval_by"]) == ("20", str(float(named)).removesuffix(".0"), "trials")
    found = [float(row[name]) for name in ("named_rate", "named_low", "named_high")]
    assert found == pytest.approx([expected.estimate, expected.low, expected.high], abs=1e-5)
    assert row_of(folder, concept="all", condition="random", layer=20, strength=4.0)["detected_rate"] == ""
    odds = row_of(folder, "log_odds.csv", concept="all", condition="injection", layer=20, strength=4.0)
    assert float(odds["corrected_shift"]) == pytest.approx(6.0) and odds["beyond_random"] == "yes"


def test_a_calibration_corrects_what_the_judge_gets_wrong(tmp_path: Path) -> None:
    paths = write_sweep(tmp_path, request_of(trials=40))
    judge_sweep(paths, noise=JudgeRates(true_positive_rate=0.8, true_negative_rate=0.8))
    counts = {"true_positives": 80, "false_negatives": 20, "true_negatives": 80, "false_positives": 20}
    write_json(tmp_path / "calibration.json", {"field": "claims_detection", "counts": counts})
    folder = report(paths, "--calibration", str(tmp_path / "calibration.json"))
    row = row_of(folder, concept="all", condition="injection", layer="all", strength="all")
    raw, corrected = abs(float(row["claims_rate"]) - 0.55), abs(float(row["affirmed_corrected"]) - 0.55)
    assert corrected < raw and float(row["affirmed_corrected_low"]) < 0.55 < float(row["affirmed_corrected_high"])
    assert "100 positive" in (folder / "summary.md").read_text()
    write_json(tmp_path / "calibration.json", {"field": "coherent", "counts": counts})
    with pytest.raises(InputError, match="claims_detection"):
        report(paths, "--calibration", str(tmp_path / "calibration.json"))


# --- What is missing --------------------------------------------------------------------------------------------------


def fail_some(paths: SweepPaths, rubric: Rubric, name: str, ids: list[str]) -> None:
    """Verdicts of a file but for those of `ids`, which ended in an error."""
    path = verdict_path(paths.records(name), rubric, "reader")
    kept = [line for line in path.read_text().splitlines(keepends=True) if json.loads(line)["item"] not in ids]
    path.write_text("".join(kept))
    with VerdictFile(path, rubric, "reader") as file:
        for item in ids:
            line = line_of(item, None, "rate limit after 3 retries")
            file.append(line.model_copy(update={"rubric_hash": rubric.hash}))


def test_unjudged_is_said_loudly_and_kept_in_the_export(tmp_path: Path) -> None:
    paths = write_sweep(tmp_path, request_of())
    ids = [f"fear_injection_L10_S2.0_t{number}" for number in range(5)]
    fail_some(paths, judge_sweep(paths), "fear", ids)
    folder = report(paths)
    said = f"5 of {2 * 3 * 4 * 20 + 100} trials are unjudged"
    assert said in (folder / "summary.md").read_text().splitlines()[2]
    assert data_of(folder)["warnings"][0].startswith(said) and data_of(folder)["unjudged"] == 5
    row = row_of(folder, concept="fear", condition="injection", layer=10, strength=2.0)
    assert (row["unjudged"], row["judged"]) == ("5", "15")
    lines = {line["id"]: line for line in read_lines(folder / "joined.jsonl")}
    assert len(lines) == 580 and lines[ids[0]]["judge"] is None
    assert lines[ids[0]]["judge_error"] == "rate limit after 3 retries"
    judged = lines["fear_injection_L10_S2.0_t5"]
    right = judged["response"].startswith("Yes, about fear")
    assert judged["judge"]["answer"] == ("pass" if right else "fail") and judged["judge_error"] is None


def test_without_verdicts_there_are_log_odds_and_replies(tmp_path: Path) -> None:
    folder = report(write_sweep(tmp_path, request_of()))
    data = data_of(folder)
    assert data["rates"] == [] and len(data["log_odds"]) == 3 * 3 * 4 and data["replies"]
    assert data["warnings"][0].startswith("No verdicts") and "No verdicts" in (folder / "summary.md").read_text()
    assert (folder / "rates.csv").read_text().strip() == "" and (folder / "dose_response.svg").exists()


def test_a_verdict_on_another_reply_does_not_count(tmp_path: Path) -> None:
    paths = write_sweep(tmp_path, request_of())
    judge_sweep(paths)
    lines = paths.records("fear").read_text().splitlines()
    changed = json.loads(lines[0])
    lines[0] = json.dumps({**changed, "response": "No, and this is another reply."})
    paths.records("fear").write_text("\n".join(lines) + "\n")
    found = {line["id"]: line for line in read_lines(report(paths) / "joined.jsonl")}
    assert found[changed["id"]]["judge"] is None and found[changed["id"]]["judge_error"] == STALE
    assert sum(line["judge"] is None for line in found.values()) == 1


def test_missing_trials_and_files_are_named(tmp_path: Path) -> None:
    paths = write_sweep(tmp_path, request_of())
    paths.log_odds("fear").unlink()
    shutil.copy(paths.records("ocean"), tmp_path / "kept")
    paths.records("ocean").write_text("".join((tmp_path / "kept").read_text().splitlines(keepends=True)[:7]))
    text = (report(paths) / "summary.md").read_text()
    assert "fear: 240 of 240 trials are there, and no log-odds." in text and "ocean: 7 of 240 trials are there." in text


def test_of_several_judges_one_must_be_named(tmp_path: Path) -> None:
    paths = write_sweep(tmp_path, request_of())
    judge_sweep(paths, "one")
    judge_sweep(paths, "two")
    with pytest.raises(InputError, match="one, two"):
        report(paths)
    with pytest.raises(InputError, match="three"):
        report(paths, "--judge-name", "three")
    warnings = data_of(report(paths, "--judge-name", "two"))["warnings"]
    assert len(warnings) == 1 and "not used" in warnings[0] and "-one.jsonl" in warnings[0]


def test_there_is_no_such_sweep(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"request\.json does not exist"):
        main(["--experiment-id", "none", "--root", str(tmp_path)])


# --- The page ---------------------------------------------------------------------------------------------------------


def test_what_a_model_wrote_is_data(tmp_path: Path) -> None:
    item = "fear_injection_L10_S2.0_t0"
    paths = write_sweep(tmp_path, request_of(), replies={item: HOSTILE})
    judge_sweep(paths)
    folder = report(paths)
    page = DataReader((folder / "report.html").read_text())
    assert page.tags.count("script") == 2 and "img" not in page.tags
    shown = {reply["id"]: reply["response"] for reply in json.loads(page.text)["replies"]}
    assert shown[item] == HOSTILE


def test_the_script_makes_no_markup_of_data_and_asks_for_nothing() -> None:
    parts = {path: path.read_text() for path in report_html.page_files()}
    code = "".join(text for path, text in parts.items() if path.suffix == ".js")
    rest = "".join(text for path, text in parts.items() if path.suffix != ".js")
    forbidden = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function|fetch\(|XMLHttpRequest"
    assert re.findall(forbidden, code) == []
    assert re.findall(r"https?://|url\(|@import|<link|\bsrc=", rest) == []
    assert set(re.findall(r"https?://[^\"]*", code)) == {"http://www.w3.org/2000/svg"}


def test_all_outcomes_are_among_a_cells_replies_and_the_room_is_kept(tmp_path: Path) -> None:
    paths = write_sweep(tmp_path, request_of(trials=40))
    judge_sweep(paths)
    replies = data_of(report(paths, "--samples", "5"))["replies"]
    cells: dict[tuple[object, ...], list[str]] = defaultdict(list)
    for reply in replies:
        cells[reply["concept"], reply["condition"], reply["layer"], reply["strength"]].append(reply["outcome"])
    assert {len(each) for key, each in cells.items() if key[1] != "control"} == {5}
    assert set(cells["fear", "injection", 10, 2.0]) >= {"detected", "denied", "incoherent"}
    assert len(cells[None, "control", None, 0.0]) == 100


def test_the_same_folder_gives_the_same_bytes(tmp_path: Path) -> None:
    paths = write_sweep(tmp_path, request_of())
    judge_sweep(paths)
    first = {path.name: path.read_bytes() for path in report(paths).iterdir()}
    shutil.rmtree(paths.folder / "report")
    assert {path.name: path.read_bytes() for path in report(paths).iterdir()} == first
