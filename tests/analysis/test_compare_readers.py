"""What compare_readers writes says what the numbers say."""

import csv
import json
import logging
from pathlib import Path

import numpy as np
import pytest

from analysis.compare_readers import main
from analysis.differences import summarise
from analysis.readings import read_paired
from interp.errors import InputError
from interp.paths import OWN_READER
from interp.projections import Column
from interp.stats import Floats
from tests.analysis.synthetic import CLEAN, Synthetic

TRAITS = ("calm", "flattery", "pep")
LAYERS = (2, 4)
COLUMNS: tuple[Column, ...] = tuple((trait, "mean_difference", layer) for trait in TRAITS for layer in LAYERS)
PROBES: tuple[Column, ...] = tuple((trait, "logistic_probe", 2) for trait in TRAITS)
PLANTED = {"x": "flattery", "y": "pep", "z": "calm", "sham_1": None}
IDS = tuple(f"p{i}" for i in range(20))


def write(audit: Synthetic, planted: dict[str, str | None], moved: dict[str, str]) -> None:
    """Each author differs by noise, and by 5 more on four prompts along the trait that it is `moved` along."""
    draw = np.random.default_rng(0)
    audit.write_config(planted, ["set"], LAYERS)
    audit.write_prompts("set", IDS)
    for author in planted:
        clean = {each: {column: draw.normal(size=3) for column in (*COLUMNS, *PROBES)} for each in IDS}
        own = {
            each: {
                column: values + draw.normal() + 5 * (column[0] == moved.get(author) and each in IDS[:4])
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


def numbers(audit: Synthetic) -> Floats:
    """Effects `[authors, traits]`, computed apart from the tables."""
    found = summarise([read_paired(audit.experiment, author, ["set"]) for author in PLANTED])
    return found.over_layers("mean_difference")[1]


def test_the_summary_says_what_the_numbers_say(audit: Synthetic) -> None:
    folder = compare(audit)
    effects = numbers(audit)
    text = (folder / "summary.md").read_text()
    assert text.startswith("# synthetic: organisms × traits\n")
    assert "averaged over layers 2, 4. 12 entries were searched." in text
    for row, author in enumerate(PLANTED):
        cells = " | ".join(f"{value:.2f}" for value in effects[row])
        assert f"\n| {author} | {cells} |" in text
    x, y, z, sham = (sorted(zip(-row, TRAITS, strict=True)) for row in effects)
    assert f"| x | flattery ✓ | {-x[0][0]:.2f} | {x[1][1]} | {-x[1][0]:.2f} | flattery | 1 |" in text
    assert f"| y | pep ✓ | {-y[0][0]:.2f} | {y[1][1]} | {-y[1][0]:.2f} | pep | 1 |" in text
    rank = [trait for _, trait in z].index("calm") + 1
    assert f"| z | pep ✗ | {-z[0][0]:.2f} | {z[1][1]} | {-z[1][0]:.2f} | calm | {rank} |" in text
    assert f"| sham_1 | {sham[0][1]} | {-sham[0][0]:.2f} | {sham[1][1]} | {-sham[1][0]:.2f} | — | — |" in text
    assert "**2 of 3 organisms are assigned their own trait** (accuracy 0.67, 95% interval 0.21 to 0.94;" in text
    assert "blind guessing among 3 traits gives 1.0; p = 0.3)" in text


def test_shams_and_their_null_are_said(audit: Synthetic) -> None:
    effects = numbers(audit)
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


def test_the_csv_holds_every_column_of_every_author(audit: Synthetic) -> None:
    rows = table(compare(audit))
    assert len(rows) == len(PLANTED) * len((*COLUMNS, *PROBES))
    found = summarise([read_paired(audit.experiment, author, ["set"]) for author in PLANTED])
    for row in rows:
        at = list(PLANTED).index(row["author"])
        place = found.columns.index((row["trait"], row["method"], int(row["layer"])))
        assert row["n_prompts"] == "20"
        for name in ("mean", "mean_low", "mean_high", "top", "top_low", "top_high", "effect", "z_others", "cosine"):
            assert float(row[name]) == pytest.approx(getattr(found, name)[at, place], rel=1e-5, nan_ok=True), name
        assert float(row["mean_low"]) < float(row["mean"]) < float(row["mean_high"])


def test_assignments_are_the_tables_as_json(audit: Synthetic) -> None:
    effects = numbers(audit)
    found = json.loads((compare(audit) / "assignments.json").read_text())["assignments"]
    assert [(each["author"], each["trait"], each["truth"]) for each in found][:3] == [
        ("x", "flattery", "flattery"), ("y", "pep", "pep"), ("z", "pep", "calm")
    ]  # fmt: skip
    assert [each["effect"] for each in found] == pytest.approx(effects.max(axis=1).tolist())


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
