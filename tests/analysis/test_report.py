"""The report says what the files say, and nothing that a model wrote gets out of its place."""

import base64
import hashlib
import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis import compare_readers, report_html, top_activating_responses
from analysis.report_responses import Quantised
from interp.errors import InputError
from interp.files import write_json
from interp.pages.single_page import as_script_data
from interp.paths import OWN_READER
from tests.analysis.reports import (
    IDS,
    LAYERS,
    PLANTED,
    TRAITS,
    Page,
    Scores,
    report,
    write_audit,
    write_csv,
    write_entries,
)
from tests.analysis.synthetic import CLEAN, Synthetic

HOSTILE = (
    "<script>alert(1)</script>", "</script><script>alert(2)</script>", "<!--<script>", "]]>", "\"'`&amp;", "\u2028",
    "<img src=x onerror=alert(3)>", "{{ 7 * 7 }}", "\u202egnp.exe", "\\u003c",
)  # fmt: skip
Readings = dict[str, tuple[Scores, Scores]]


@pytest.fixture
def audit(synthetic: Synthetic) -> Synthetic:
    return synthetic


@pytest.fixture
def readings(audit: Synthetic) -> Readings:
    return write_audit(audit)


def unpacked(scale: float, data: str) -> Any:
    return np.frombuffer(base64.b64decode(data), np.int8) * scale


# --- What was run, what is missing ------------------------------------------------------------------------------------


def test_it_says_what_was_run_and_on_what(audit: Synthetic, readings: Readings) -> None:
    data = Page(report(audit)).data
    settings = dict(data["settings"])
    assert settings["clean reader"] == CLEAN and settings["layers (0-based)"] == "2, 4"
    assert (settings["sampling: temperature"], settings["sampling: max_new_tokens"]) == ("0.0", "300")
    assert [(each["name"], each["role"], each["truth"]) for each in data["models"]] == [
        (CLEAN, "reader", None), ("ada", "organism", "flattery"), ("bob", "organism", "pep"), ("sham_1", "sham", None)
    ]  # fmt: skip
    (asked,) = data["prompt_sets"]
    assert asked["prompts"] == 6 and asked["categories"].startswith("about p0 1, about p1 1")
    assert [(each["trait"], each["layer"], each["held-out AUROC"]) for each in data["vectors"]] == [
        (trait, 4, 0.9) for trait in TRAITS
    ]
    assert data["config"] == "../config.json"


def test_where_nothing_is_missing_nothing_is_said_to_be(audit: Synthetic, readings: Readings) -> None:
    data = Page(report(audit)).data
    assert [(row["author"], row["responses"], row["missing or wrong"]) for row in data["coverage"]] == [
        (author, 6, "") for author in PLANTED
    ]
    assert data["left_out"] == []


def test_what_is_missing_is_named(audit: Synthetic, readings: Readings) -> None:
    (audit.paths.responses("ada", "set") / "p5.json").unlink()
    audit.paths.projections("bob", "set", CLEAN).unlink()
    own, _ = readings["sham_1"]
    audit.write_reading("sham_1", "set", OWN_READER, {each: own[each] for each in IDS[1:]})
    audit.write_reading("sham_1", "set", CLEAN, {each: own[each] for each in IDS[2:]})
    write_entries(audit, {("ada", trait): 1.0 for trait in TRAITS})
    data = Page(report(audit)).data
    said = {row["author"]: row["missing or wrong"] for row in data["coverage"]}
    assert said["ada"] == "1 responses are missing"
    assert said["bob"] == "no projections by the clean reader"
    assert "the clean reader did not read all: 1 responses lack it" in said["sham_1"]
    assert "1 responses have no score" in said["sham_1"]
    assert data["authors"] == ["ada"] and data["left_out"] == ["bob", "sham_1"]


def test_links_lead_to_files_that_are_there(audit: Synthetic, readings: Readings) -> None:
    page = Page(report(audit))
    data = page.data
    links = [data["config"], *data["files"], *data["entry_files"]]
    links += [row["file"] for name in ("coverage", "vectors") for row in data[name]]
    assert len(links) > 8
    for link in links:
        assert (audit.paths.analysis / link).exists(), link


# --- Numbers ----------------------------------------------------------------------------------------------------------


def test_every_entry_is_there_with_its_numbers(audit: Synthetic, readings: Readings) -> None:
    page = Page(report(audit))
    rows = page.entries()
    assert len(rows) == len(PLANTED) * len(TRAITS) * len(LAYERS)
    for row in rows:
        effect = 4.0 * (PLANTED[row["author"]] == row["trait"]) + row["layer"] / 10
        assert row["effect"] == pytest.approx(effect) and row["mean_low"] == pytest.approx(effect - 0.5, rel=1e-3)
        assert row["n_prompts"] == 6 and row["z_others"] is None
    assert page.data["leading"] == "effect"


def test_columns_are_taken_as_they_come(audit: Synthetic, readings: Readings) -> None:
    """New ones are shown by their names; of the old ones only the keys have to be there."""
    effects = {(author, trait): 1.0 for author in PLANTED for trait in TRAITS}
    more: dict[str, list[object]] = {"centred_top_q": [0.01] * 18, "note": ["did not fire"] * 18}
    write_entries(audit, effects, more, lacking=("effect", "mean", "mean_low", "mean_high"))
    page = Page(report(audit))
    assert page.data["leading"] == "n_prompts"  # the others have gone, or are empty
    assert page.entries()[0]["centred_top_q"] == 0.01 and page.entries()[0]["note"] == "did not fire"


@pytest.mark.parametrize(("last", "leading"), [(1.0, "centred_effect"), ("nan", "effect")])
def test_the_statistic_shown_first_is_one_that_every_entry_has(
    audit: Synthetic, readings: Readings, last: object, leading: str
) -> None:
    """Where an organism has no peers, its centred numbers are not there."""
    effects = {(author, trait): 1.0 for author in PLANTED for trait in TRAITS}
    write_entries(audit, effects, {"centred_effect": [2.0] * 17 + [last]})
    assert Page(report(audit)).data["leading"] == leading


def test_a_table_of_all_layers_together_is_joined(audit: Synthetic, readings: Readings) -> None:
    path = audit.paths.analysis / "compare_readers" / "entries.csv"
    write_csv(path, [{"author": "ada", "trait": trait, "effect": 9.0, "detected": trait == "pep"} for trait in TRAITS])
    page = Page(report(audit))
    together = [row for row in page.entries() if row["layer"] == "all"]
    assert [(row["author"], row["trait"], row["method"], row["effect"], row["detected"]) for row in together] == [
        ("ada", trait, "mean_difference", 9, str(trait == "pep")) for trait in TRAITS
    ]
    assert page.data["entry_files"] == ["compare_readers/differences.csv", "compare_readers/entries.csv"]


def test_other_tables_are_shown_as_far_as_they_fit(
    audit: Synthetic, readings: Readings, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_csv(audit.paths.analysis / "validation" / "steering.csv", [{"trait": "pep", "strength": 2}])
    write_csv(audit.paths.analysis / "zz" / "big.csv", [{"x": "1" * 500}])
    monkeypatch.setattr("analysis.report.OTHER_TABLES_BYTES", 400)
    data = Page(report(audit)).data
    assert data["tables"] == [
        {
            "file": "validation/steering.csv",
            "columns": [{"name": "trait", "names": ["pep"], "places": [0]}, {"name": "strength", "values": [2]}],
        }
    ]
    assert "zz/big.csv" in data["files"]


@pytest.mark.parametrize(
    ("lacking", "message"),
    [
        (("trait",), "lacks trait"),
        (("n_prompts", "mean", "mean_low", "mean_high", "effect", "z_others"), "lacks numbers"),
    ],
)
def test_a_table_without_keys_or_numbers_is_refused(
    audit: Synthetic, readings: Readings, lacking: tuple[str, ...], message: str
) -> None:
    write_entries(audit, {("ada", "pep"): 1.0}, lacking=lacking)
    with pytest.raises(InputError, match=message):
        report(audit)


def test_a_torn_table_is_refused(audit: Synthetic, readings: Readings) -> None:
    path = audit.paths.analysis / "compare_readers" / "differences.csv"
    path.write_text(path.read_text()[:-20])
    with pytest.raises(InputError, match="is no whole table"):
        report(audit)
    path.unlink()
    with pytest.raises(InputError, match=r"run analysis/compare_readers\.py first"):
        report(audit)


# --- Responses --------------------------------------------------------------------------------------------------------


def test_responses_are_ranked_and_scored_as_by_a_loop(audit: Synthetic, readings: Readings) -> None:
    details = Page(report(audit)).details
    assert list(details) == list(PLANTED)
    for author, (own, clean) in readings.items():
        for trait in TRAITS:
            column = (trait, "mean_difference", 4)
            differences = {
                each: [a - b for a, b in zip(own[each][column], clean[each][column], strict=True)] for each in IDS
            }
            best = {each: sorted(values)[-5:] for each, values in differences.items()}
            score = {each: sum(values) / len(values) for each, values in best.items()}
            rows = details[author]["traits"][trait]
            shown = [details[author]["responses"][row[0]]["id"] for row in rows]
            assert shown == sorted(IDS, key=lambda each: -score[each])
            for prompt_id, row in zip(shown, rows, strict=True):
                assert row[1] == pytest.approx(score[prompt_id], rel=6e-4)
                assert unpacked(row[2], row[3]) == pytest.approx(own[prompt_id][column], abs=row[2] * 0.51)
                assert unpacked(row[4], row[5]) == pytest.approx(differences[prompt_id], abs=row[4] * 0.51)


def test_question_category_and_tokens_stand_with_a_response(audit: Synthetic, readings: Readings) -> None:
    for response in Page(report(audit)).details["ada"]["responses"]:
        prompt_id = response["id"]
        assert (response["question"], response["category"]) == (f"What of {prompt_id}?", f"about {prompt_id}")
        written = json.loads((audit.paths.responses("ada", "set") / f"{prompt_id}.json").read_text())
        assert response["tokens"] == written["tokens"] and response["set"] == "set" and response["turns"] == 1


@pytest.mark.parametrize("values", [[0.0, 0.0], [1.0, -2.5, 127.0], [1e-30, 0.0], [], [3e5, -3e5, 1.0]])
def test_a_byte_is_at_most_half_a_scale_off(values: list[float]) -> None:
    packed = Quantised.of(np.array(values))
    assert packed.scale > 0
    largest = max(map(abs, values), default=0)
    assert unpacked(packed.scale, packed.data) == pytest.approx(np.array(values), abs=0.51 * packed.scale)
    assert packed.scale <= largest / 126 or not largest


def test_thinning_keeps_what_stands_out_and_says_so(audit: Synthetic, readings: Readings) -> None:
    everything = Page(report(audit))
    assert everything.data["thinning"] == {"kept": 54, "ranked": 54, "scored": 54, "top_n": 20}
    page = Page(report(audit, "--detail-mb", "0.005"))
    kept = {(author, trait): len(rows) for author, of in page.details.items() for trait, rows in of["traits"].items()}
    assert 0 < sum(kept.values()) < 54
    assert page.data["thinning"]["kept"] == sum(kept.values())
    parts = [each for of in page.details.values() for each in of["responses"]]
    parts += [row for of in page.details.values() for rows in of["traits"].values() for row in rows]
    assert 4500 < sum(len(json.dumps(each)) for each in parts) <= 5000
    for author, truth in PLANTED.items():
        if truth:
            assert kept[author, truth] == max(kept[author, trait] for trait in TRAITS if (author, trait) in kept)
    turns = {
        (author, trait, rank): rank * (1 + [t for _, t in order].index(trait))
        for author in PLANTED
        for order in [sorted((-4.0 * (trait == PLANTED[author]), trait) for trait in TRAITS)]
        for trait in TRAITS
        for rank in range(1, 7)
    }
    shown = [turns[key] for key in turns if key[2] <= kept.get((key[0], key[1]), 0)]
    hidden = [turns[key] for key in turns if key[2] > kept.get((key[0], key[1]), 0)]
    assert max(shown) <= min(hidden)


def test_entries_take_room_from_responses(
    audit: Synthetic, readings: Readings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("analysis.report.OTHER_TABLES_BYTES", 0)
    entries = len(as_script_data(Page(report(audit)).data["entries"]))
    monkeypatch.setattr("analysis.report.PAGE_BYTES", entries + 5000)
    page = Page(report(audit, "--top-n", "19"))
    assert 2000 < sum(len(json.dumps(each)) for each in page.details.values()) < 1.2 * 5000
    monkeypatch.setattr("analysis.report.PAGE_BYTES", entries - 5000)
    assert Page(report(audit, "--top-n", "18")).details == {}


def test_at_most_so_many_as_asked_for(audit: Synthetic, readings: Readings) -> None:
    details = Page(report(audit, "--top-n", "2")).details
    assert {len(rows) for of in details.values() for rows in of["traits"].values()} == {2}


def test_without_token_scores_there_is_still_a_report(audit: Synthetic, readings: Readings) -> None:
    for author in PLANTED:
        for reader in (OWN_READER, CLEAN):
            folder = audit.paths.activations(author, "set", reader)
            write_json(folder / "_manifest.json", {"fingerprint": "x", "settings": {"keep": "pooled"}})
    page = Page(report(audit))
    assert page.details == {} and len(page.entries()) == 18
    assert all("only means were kept" in row["missing or wrong"] for row in page.data["coverage"])


def test_chosen_authors_and_prompt_sets_are_those_of_the_report(audit: Synthetic, readings: Readings) -> None:
    page = Page(report(audit, "--model-variant", "bob"))
    assert page.data["authors"] == ["bob"] and list(page.details) == ["bob"]
    assert {row["author"] for row in page.entries()} == {"bob"}
    write_entries(audit, {("ada", trait): 1.0 for trait in TRAITS})
    with pytest.raises(InputError, match=r"has no row of bob; run analysis/compare_readers\.py with them"):
        report(audit, "--model-variant", "bob")
    with pytest.raises(InputError, match="unknown model variant eve"):
        report(audit, "--model-variant", "eve")


# --- Untrusted text ---------------------------------------------------------------------------------------------------


def test_hostile_text_stays_text(audit: Synthetic, readings: Readings) -> None:
    clean_tags = Page(report(audit)).tags
    tokens = [*HOSTILE, "!"][:4], [*HOSTILE][4:8]
    for author in PLANTED:
        audit.write_response(author, "set", "p0", tokens[0])
        audit.write_response(author, "set", "p4", [*tokens[1], *HOSTILE[:4]])
    prompt_file = audit.paths.home / "prompts" / "set.json"
    prompts = json.loads(prompt_file.read_text())
    prompts["system_prompt"] = "".join(HOSTILE)
    write_json(prompt_file, prompts)
    page = Page(report(audit, "--top-n", "19"))
    assert page.tags == clean_tags
    shown = {each["id"]: each["tokens"] for each in page.details["ada"]["responses"]}
    assert shown["p0"] == tokens[0] and shown["p4"] == [*tokens[1], *HOSTILE[:4]]
    assert page.data["prompt_sets"][0]["system prompt"] == "".join(HOSTILE)


def test_data_holds_no_markup_at_all() -> None:
    text = as_script_data({"</script>": [*HOSTILE]})
    assert "<" not in text and json.loads(text) == {"</script>": [*HOSTILE]}


def test_the_policy_lets_in_just_this_script_and_style(audit: Synthetic, readings: Readings) -> None:
    page = Page(report(audit))
    rules = dict(rule.strip().split(" ", 1) for rule in page.policy.split(";"))
    assert rules["default-src"] == "'none'" and rules["form-action"] == rules["base-uri"] == "'none'"
    for rule, text in (("script-src", page.code), ("style-src", page.style)):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert rules[rule] == f"'sha256-{digest}'"


def test_the_script_makes_no_markup_of_data_and_asks_for_nothing() -> None:
    code = "".join(path.read_text() for path in report_html.page_files() if path.suffix == ".js")
    forbidden = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function|fetch\(|XMLHttpRequest"
    assert re.findall(forbidden, code) == []
    page = "".join(path.read_text() for path in report_html.page_files() if path.suffix != ".js")
    assert re.findall(r"https?://|url\(|@import|<link|\bsrc=", page) == []
    assert set(re.findall(r"https?://[^\"]*", code)) == {"http://www.w3.org/2000/svg"}


# --- Made again or not ------------------------------------------------------------------------------------------------


def test_the_same_inputs_give_the_same_bytes(audit: Synthetic, readings: Readings, tmp_path: Path) -> None:
    first = report(audit).read_bytes()
    elsewhere = Synthetic(tmp_path / "elsewhere")
    shutil.copytree(audit.paths.folder, elsewhere.paths.folder)
    (elsewhere.paths.analysis / "report.html").unlink()
    assert report(elsewhere).read_bytes() == first


def test_it_is_made_again_only_when_something_changed(audit: Synthetic, readings: Readings, tmp_path: Path) -> None:
    def made(*flags: str) -> int:
        return report(audit, *flags).stat().st_mtime_ns

    first = made()
    assert made() == first
    assert made("--top-n", "3") != first
    second = made()
    write_entries(audit, {(author, trait): 2.0 for author in PLANTED for trait in TRAITS})
    third = made()
    assert third != second and made() == third
    (audit.paths.responses("ada", "set") / "p5.json").unlink()
    assert "1 responses are missing" in report(audit).read_text()


def test_another_style_is_another_report(
    audit: Synthetic, readings: Readings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report(audit)
    page = shutil.copytree(report_html.PAGE, tmp_path / "page")
    monkeypatch.setattr(report_html, "PAGE", page)
    (page / "style.css").write_text("body { margin: 7px }")
    assert "margin: 7px" in report(audit).read_text()


def test_it_reads_what_the_other_analyses_write(
    audit: Synthetic, readings: Readings, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ["--experiment", audit.name, "--root", str(audit.root)]
    assert compare_readers.main(where) == 0
    assert top_activating_responses.main(where) == 0
    path = report(audit)
    assert capsys.readouterr().out.endswith(f"report: {path}\n")
    page = Page(path)
    data, folder = page.data, audit.paths.analysis / "compare_readers"
    together = [row for row in page.entries() if row["layer"] == "all"]
    assert len(together) == len(PLANTED) * len(TRAITS) and {row["detected"] for row in together} <= {"yes", "no"}
    assert len(page.entries()) == len(together) * (1 + len(LAYERS)) and data["grades"][0]["organisms"] == "all"
    assert data["verdict"] == (folder / "verdict.txt").read_text().splitlines()
    assert data["assignments"] == json.loads((folder / "assignments.json").read_text())["assignments"]
    assert {"compare_readers/matrix.png", "top_activating/set/pep/summary.md"} <= set(data["files"])
