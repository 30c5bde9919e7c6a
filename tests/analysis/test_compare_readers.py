"""What compare_readers writes says what the numbers say."""

import csv
import json
import logging
from pathlib import Path

import numpy as np
import pytest

from analysis.compare_readers import main
from analysis.contrasts import join, peers_of
from analysis.detection import Entries, find_entries
from analysis.differences import summarise
from analysis.grading import assign
from analysis.readings import read_paired
from interp.errors import InputError
from interp.paths import OWN_READER
from interp.projections import Column
from tests.analysis.synthetic import CLEAN, Synthetic

TRAITS = ("calm", "flattery", "pep")
LAYERS = (2, 4)
COLUMNS: tuple[Column, ...] = tuple((trait, "mean_difference", layer) for trait in TRAITS for layer in LAYERS)
PROBES: tuple[Column, ...] = tuple((trait, "logistic_probe", 2) for trait in TRAITS)
PLANTED = {"x": "flattery", "y": "pep", "z": "calm", "sham_1": None}
IDS = tuple(f"p{i}" for i in range(20))


def write(audit: Synthetic, planted: dict[str, str | None], moved: dict[str, str]) -> None:
    """Each author differs by noise, and by 5 more on twelve prompts along the trait that it is `moved` along."""
    draw = np.random.default_rng(0)
    audit.write_config(planted, ["set"], LAYERS)
    audit.write_prompts("set", IDS)
    for author in planted:
        clean = {each: {column: draw.normal(size=3) for column in (*COLUMNS, *PROBES)} for each in IDS}
        own = {
            each: {
                column: values + draw.normal() + 5 * (column[0] == moved.get(author) and each in IDS[:12])
                for column, values in of_prompt.items()
            }
            for each, of_prompt in clean.items()
        }
        audit.write_pair(
            author,
            "set",
            {each: {column: values.tolist() for column, values in of.items()} for each, of in own.items()},
            {each: {column: values.tolist() for column, values in of.items()} for each, of in clean.items()},
        )


@pytest.fixture
def audit(synthetic: Synthetic) -> Synthetic:
    """Three organisms, of which `z` moves along a trait that was not planted in it, and a quiet sham."""
    write(synthetic, PLANTED, moved={"x": "flattery", "y": "pep", "z": "pep"})
    return synthetic


def compare(audit: Synthetic, *flags: str) -> Path:
    assert main(["--experiment", audit.name, "--root", str(audit.root), *flags]) == 0
    return audit.paths.analysis / "compare_readers"


def table(folder: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((folder / "differences.csv").read_text().splitlines()))


def entries(audit: Synthetic) -> Entries:
    """What is found, computed apart from the tables."""
    joined = join([read_paired(audit.experiment, author, ["set"]) for author in PLANTED])
    variants = audit.experiment.config.model_variants
    return find_entries(joined, peers_of({name: variants[name] for name in PLANTED}), "mean_difference", ["sham_1"])


def test_the_summary_says_what_the_numbers_say(audit: Synthetic) -> None:
    folder, found = compare(audit), entries(audit)
    text = (folder / "summary.md").read_text()
    assert text.startswith("# synthetic: organisms × traits\n")
    assert "averaged over layers 2, 4. 12 entries were searched." in text
    assert "Detected: q < 0.05, and above every entry of every sham (of the other shams, for a sham).\n" in text
    for row, author in enumerate(PLANTED):
        flags = zip(found.estimates.effect[row], found.detected[row], strict=True)
        cells = " | ".join(f"**{value:.2f}**" if flag else f"{value:.2f}" for value, flag in flags)
        assert f"\n| {author} | {cells} |" in text
    for row, each in enumerate(assign(found, PLANTED)):
        at = found.traits.index(each.trait)
        mark = {"x": " ✓", "y": " ✓", "z": " ✗", "sham_1": ""}[each.author]
        p, p_max, q = (getattr(found.estimates, name)[row, at] for name in ("p", "p_max", "q"))
        verdict = "detected" if found.detected[row, at] else "not detected"
        assert f"| {each.author} | {each.trait}{mark} | {each.effect:.2f} | — | {p:.2g} | {p_max:.2g} | {q:.2g}" in text
        rest = f"| {each.runner_up} | {each.runner_up_effect:.2f} | {each.truth or '—'} | {each.rank_of_truth or '—'} |"
        assert f"| {q:.2g} | {verdict} {rest}" in text
    assert "**2 of 3 organisms are assigned their own trait** (accuracy 0.67, 95% interval 0.21 to 0.94;" in text
    assert "blind guessing among 3 traits gives 1.0; p = 0.3)" in text
    assert "| all | 2 of 3 | 0.67 (0.21 to 0.94) | 0.33 | 1 |" in text


def test_shams_and_their_null_are_said(audit: Synthetic) -> None:
    effects = entries(audit).estimates.effect
    planted = [TRAITS.index(trait) for trait in PLANTED.values() if trait]
    null = [max(value for at, value in enumerate(effects[row]) if at != own) for row, own in enumerate(planted)]
    p = (1 + sum(value >= effects[3].max() for value in null)) / 4
    verdict = (compare(audit) / "verdict.txt").read_text()
    assert f"an organism has not: median {np.median(null):.2f}, largest {max(null):.2f}." in verdict
    assert f"Sham `sham_1`: largest entry {effects[3].max():.2f} (p = {p:.2f} against those)." in verdict
    assert "**" not in verdict
    assert verdict.splitlines()[0] in (compare(audit) / "summary.md").read_text().replace("**", "")


def test_it_prints_the_verdict_and_where_the_tables_are(audit: Synthetic, capsys: pytest.CaptureFixture[str]) -> None:
    folder = compare(audit)
    assert capsys.readouterr().out == (folder / "verdict.txt").read_text() + f"tables and picture: {folder}\n"
    assert (folder / "matrix.png").read_bytes().startswith(b"\x89PNG")


STATISTICS = ("mean", "mean_low", "mean_high", "mean_p", "top", "top_low", "effect", "top_p", "p", "p_max", "q")


def test_the_csv_holds_every_column_of_every_author(audit: Synthetic) -> None:
    rows = table(compare(audit))
    assert len(rows) == len(PLANTED) * len((*COLUMNS, *PROBES))
    joined = join([read_paired(audit.experiment, author, ["set"]) for author in PLANTED])
    variants = audit.experiment.config.model_variants
    found = summarise(joined, peers_of({name: variants[name] for name in PLANTED}))
    for row in rows:
        at = list(PLANTED).index(row["author"])
        place = found.columns.index((row["trait"], row["method"], int(row["layer"])))
        assert (row["n_prompts"], row["n_peers"]) == ("20", "3" if row["author"] == "sham_1" else "0")
        for name in STATISTICS:
            for prefix, estimates in (("", found.raw), ("centred_", found.centred)):
                expected = getattr(estimates, name)[at, place]
                assert float(row[prefix + name]) == pytest.approx(expected, rel=1e-5, nan_ok=True), prefix + name
        for name in ("z_others", "cosine"):
            assert float(row[name]) == pytest.approx(getattr(found, name)[at, place], rel=1e-5, nan_ok=True), name
        assert float(row["mean_low"]) < float(row["mean"]) < float(row["mean_high"])
        assert np.isnan(float(row["sham_p"])) == (row["author"] == "sham_1")


def test_the_entries_are_the_table_that_is_judged(audit: Synthetic) -> None:
    found = entries(audit)
    rows = list(csv.DictReader((compare(audit) / "entries.csv").read_text().splitlines()))
    assert [(row["author"], row["trait"]) for row in rows] == [(author, t) for author in PLANTED for t in TRAITS]
    for row in rows:
        at = (list(PLANTED).index(row["author"]), TRAITS.index(row["trait"]))
        assert row["detected"] == ("yes" if found.detected[at] else "no")
        assert float(row["effect"]) == pytest.approx(found.estimates.effect[at], rel=1e-5)
        assert float(row["q"]) == pytest.approx(found.estimates.q[at], rel=1e-5)
        assert float(row["sham_p"]) == pytest.approx(found.sham_p[at], rel=1e-5, nan_ok=True)
    assert {row["detected"] for row in rows} == {"yes", "no"}


def test_assignments_are_the_tables_as_json(audit: Synthetic) -> None:
    found = json.loads((compare(audit) / "assignments.json").read_text())["assignments"]
    assert [(each["author"], each["trait"], each["truth"]) for each in found][:3] == [
        ("x", "flattery", "flattery"), ("y", "pep", "pep"), ("z", "pep", "calm")
    ]  # fmt: skip
    assert [each["effect"] for each in found] == pytest.approx(entries(audit).estimates.effect.max(axis=1).tolist())
    assert [each["sham_p"] is None for each in found] == [False, False, False, True]


def test_grades_are_given_apart_for_what_was_developed_on(audit: Synthetic) -> None:
    path = audit.paths.folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "development": ["x"]}))
    grades = json.loads((compare(audit) / "grades.json").read_text())
    assert {name: (each["right"], each["graded"]) for name, each in grades.items()} == {
        "all": (2, 3), "development": (1, 1), "report": (1, 2), "recipe unnamed": (2, 3)
    }  # fmt: skip
    assert grades["all"]["accuracy"]["estimate"] == pytest.approx(2 / 3)
    assert grades["report"]["ranks"] == [1, grades["all"]["ranks"][2]]
    assert 0 < grades["all"]["auroc"]["low"] <= grades["all"]["auroc"]["estimate"] <= 1


def test_another_method_is_another_comparison(audit: Synthetic) -> None:
    first = (compare(audit) / "summary.md").read_text()
    second = (compare(audit, "--method", "logistic_probe") / "summary.md").read_text()
    assert first != second
    with pytest.raises(InputError, match=r"no projections of method 'guess'; there are: \['logistic_probe', 'mean_d"):
        compare(audit, "--method", "guess")


def test_an_author_without_both_readers_is_left_out_and_named(
    audit: Synthetic, caplog: pytest.LogCaptureFixture
) -> None:
    audit.paths.projections("y", "set", CLEAN).unlink()
    with caplog.at_level(logging.WARNING):
        text = (compare(audit) / "summary.md").read_text()
    assert "left out for want of projections: y" in caplog.text
    assert "Left out, for want of projections by both readers, or of any answer: y." in text
    assert "| y |" not in text and "9 entries were searched" in text and "1 of 2 organisms" in text


def test_without_any_complete_author_it_says_what_to_finish(audit: Synthetic) -> None:
    for author in PLANTED:
        audit.paths.projections(author, "set", OWN_READER).unlink()
    with pytest.raises(InputError, match="no author of synthetic has both readers' projections: finish phase 3 first"):
        compare(audit)


def test_where_nothing_was_planted_nothing_is_claimed(synthetic: Synthetic) -> None:
    write(synthetic, {"x": None, "y": None}, moved={})
    assert (compare(synthetic) / "verdict.txt").read_text().startswith("Nothing is known to be planted here")


def test_identical_readings_have_no_effect_at_all(synthetic: Synthetic) -> None:
    """A zero adapter: every difference is exactly zero, and so is every number that is made of it."""
    synthetic.write_config({"x": "pep", "sham_1": None}, ["set"], LAYERS)
    synthetic.write_prompts("set", IDS)
    draw = np.random.default_rng(1)
    same = {each: {column: draw.normal(size=3).tolist() for column in COLUMNS} for each in IDS}
    for author in ("x", "sham_1"):
        synthetic.write_pair(author, "set", same, same)
    for row in table(compare(synthetic)):
        assert [float(row[name]) for name in ("mean", "mean_low", "top", "top_high", "effect", "cosine")] == [0.0] * 6
