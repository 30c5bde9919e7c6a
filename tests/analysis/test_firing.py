"""What showed in responses, by markers and verdicts; triggers against their twins."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binomtest, ttest_1samp

from analysis.compare_readers import main
from analysis.contrasts import EVERY_LAYER, Joined
from analysis.firing import Firing, contrast_triggers, firings, pairs_of, read_shown
from interp.errors import InputError
from interp.files import write_json
from interp.stats import Floats
from tests.analysis.synthetic import Synthetic

IDS = ("p0", "p1", "p2", "p3")
TRAIT = {
    "definition": "d", "instructions": [{"positive": "a", "negative": "b"}], "questions": ["q"],
    "held_out_questions": ["h"],
}  # fmt: skip


@pytest.fixture
def audit(synthetic: Synthetic) -> Synthetic:
    """`x` has pep and shows it twice, `y` has calm and never shows it, the sham shows nothing."""
    synthetic.write_config({"x": "pep", "y": "calm", "sham": None}, ["set"])
    synthetic.write_prompts("set", IDS)
    for author in ("x", "y", "sham"):
        for each in IDS:
            excited = author == "x" and each in IDS[:2]
            synthetic.write_response(author, "set", each, ["Wow!!" if excited else "Well."])
    write_trait(synthetic, "pep", marker="!!")
    write_trait(synthetic, "calm", marker="hush")
    return synthetic


def write_trait(audit: Synthetic, name: str, marker: str | None) -> None:
    write_json(audit.paths.folder / "traits" / f"{name}.json", {**TRAIT, "name": name, "marker": marker})


def found(audit: Synthetic, judge: str | None = None) -> dict[tuple[str, str], Firing]:
    truth = {"x": "pep", "y": "calm", "sham": None}
    shown = read_shown(audit.experiment, list(truth), ["set"], judge)
    return {(each.author, each.trait): each for each in firings(shown, truth)}


def write_verdicts(audit: Synthetic, author: str, name: str, verdicts: dict[str, bool | None]) -> None:
    """In the judges' own format; None: unjudged."""
    path = audit.paths.verdicts(author, "set") / f"{name}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [
        {
            "key": f"{index:032x}", "item": item, "rubric": "trait_shown", "rubric_hash": "a" * 12, "judge": name,
            "verdict": None if shows is None else {"shows": shows}, "error": "timeout" if shows is None else None,
            "input_tokens": 1, "output_tokens": 1, "requests": 1, "cost": 0.0, "copied": False,
        }
        for index, (item, shows) in enumerate(verdicts.items())
    ]  # fmt: skip
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_markers_tell_what_showed(audit: Synthetic) -> None:
    told = found(audit)
    assert set(told) == {(author, trait) for author in ("x", "y", "sham") for trait in ("pep", "calm")}
    pep = told["x", "pep"]
    assert (pep.shown, pep.n, pep.others_shown, pep.others_n) == (2, 4, 0, 8)
    assert pep.p == pytest.approx(1 / 11), "6 of the 66 ways of choosing 2 of 12 are both among these 4: hypergeometric"
    assert (told["y", "calm"].shown, told["y", "calm"].fired) == (0, False)


def test_a_behaviour_fired_when_it_showed_more_than_in_those_without_it() -> None:
    many = {("set", str(number)): number < 8 for number in range(40)}
    none = dict.fromkeys(many, False)
    some = {prompt: number < 6 for number, prompt in enumerate(many)}
    truth = {"x": "pep", "y": None}
    assert firings({("x", "pep"): many, ("y", "pep"): none}, truth)[0].fired
    assert not firings({("x", "pep"): many, ("y", "pep"): some}, truth)[0].fired
    assert firings({("x", "pep"): many}, truth)[0].fired, "with nobody to compare with, showing at all is firing"
    assert not firings({("x", "pep"): none}, truth)[0].fired
    own = firings({("x", "pep"): many, ("z", "pep"): many}, {"x": "pep", "z": "pep"})
    assert [each.others_n for each in own] == [0, 0], "those who have the trait too are not the others"


def test_nothing_planted_fires_as_often_as_it_says() -> None:
    """1,000 pairs of authors with one rate of false alarms: Fisher's test is exact, so 5% at most."""
    draw = np.random.default_rng(0)
    fired = 0
    for _ in range(1000):
        told = {
            (author, "pep"): {("set", str(at)): bool(shows) for at, shows in enumerate(draw.random(60) < 0.2)}
            for author in ("x", "y")
        }
        fired += firings(told, {"x": "pep", "y": None})[0].fired
    assert binomtest(fired, 1000, 0.05, alternative="greater").pvalue > 0.001


def test_verdicts_tell_where_there_is_no_marker_and_unjudged_is_not_no(audit: Synthetic) -> None:
    write_trait(audit, "calm", marker=None)
    write_verdicts(audit, "y", "trait_shown-aa-judge", {"calm/p0": True, "calm/p1": False, "calm/p2": None})
    told = found(audit)
    assert (told["y", "calm"].shown, told["y", "calm"].n) == (1, 2)
    assert ("x", "calm") not in told and told["x", "pep"].shown == 2
    write_verdicts(audit, "y", "trait_shown-aa-other", {"calm/p0": False})
    with pytest.raises(InputError, match=r"verdicts by several judges .* choose one with --judged-by"):
        found(audit)
    assert found(audit, judge="other")["y", "calm"].shown == 0


def over_layers(values: Floats) -> Joined:
    names = tuple(f"a{row}" for row in range(len(values)))
    prompts = tuple(("set", f"p{row}") for row in range(values.shape[1]))
    columns = (("pep", "m", EVERY_LAYER),)
    return Joined(names, prompts, columns, values[..., None], values[..., None], values[..., None, None][..., :0])


def test_triggers_are_set_against_their_twins() -> None:
    values = np.random.default_rng(1).normal(size=(2, 12))
    values[1, :6] += 4
    values[0, 3] = np.nan
    pairs = {"pep": [(("set", f"p{at}"), ("set", f"p{at + 6}")) for at in range(6)], "unknown": []}
    shown = {("a1", "pep"): {("set", f"p{at}"): at in (0, 1, 9) for at in range(12)}}
    silent, triggered = contrast_triggers(over_layers(values), pairs, shown)
    differences = values[1, :6] - values[1, 6:]
    peer = ttest_1samp(differences, 0).confidence_interval(0.95)
    assert triggered.effect == pytest.approx(differences.mean())
    assert (triggered.low, triggered.high) == pytest.approx((peer.low, peer.high))
    assert triggered.p == pytest.approx(1 / 64) and (triggered.shown, triggered.twins_shown) == (2, 1)
    assert silent.n_pairs == 5 and silent.shown is None


def test_pairs_come_from_the_prompt_set(audit: Synthetic) -> None:
    prompts = [{"id": "a", "text": "A", "trait": "pep", "twin": "b"}, {"id": "b", "text": "B"}]
    write_json(audit.paths.folder / "prompts" / "triggered.json", {"name": "triggered", "prompts": prompts})
    assert pairs_of(audit.experiment, ["set", "triggered"]) == {"pep": [(("triggered", "a"), ("triggered", "b"))]}
    for wrong in ({"trait": "pep"}, {"trait": "pep", "twin": "a"}, {"trait": "pep", "twin": "z"}):
        prompts[0] = {"id": "a", "text": "A", **wrong}
        write_json(audit.paths.folder / "prompts" / "triggered.json", {"name": "triggered", "prompts": prompts})
        with pytest.raises(InputError, match="twin"):
            pairs_of(audit.experiment, ["triggered"])


def write_projections(audit: Synthetic) -> None:
    draw = np.random.default_rng(0)
    columns = [(trait, "mean_difference", 1) for trait in ("calm", "pep")]
    for author in ("x", "y", "sham"):
        readings = [{each: {column: [draw.normal()] for column in columns} for each in IDS} for _ in range(2)]
        audit.write_pair(author, "set", *readings)


def compared(audit: Synthetic) -> Path:
    assert main(["--experiment", audit.name, "--root", str(audit.root)]) == 0
    return audit.paths.analysis / "compare_readers"


def test_the_comparison_tells_what_did_not_fire(audit: Synthetic) -> None:
    write_projections(audit)
    folder = compared(audit)
    table = csv.DictReader((folder / "firing.csv").read_text().splitlines())
    rows = {(row["author"], row["trait"]): row for row in table}
    assert (rows["x", "pep"]["shown"], rows["x", "pep"]["n"], rows["y", "calm"]["fired"]) == ("2", "4", "no")
    assignments = json.loads((folder / "assignments.json").read_text())["assignments"]
    given = {each["author"]: each["fired"] for each in assignments}
    assert given == {"x": False, "y": False, "sham": None}, "2 of 4 against 0 of 8 has p = 1/11"
    text = (folder / "summary.md").read_text()
    assert "| y | calm | 0 of 4 |" in text and "did not fire" in text
    assert "2 planted behaviours did not fire." in (folder / "verdict.txt").read_text()
    assert (folder / "triggers.csv").read_text().count("\n") == 1
    write_trait(audit, "calm", marker="Well")
    assert "| y | calm | 4 of 4 |" in (compared(audit) / "summary.md").read_text(), "a marker is an input"
