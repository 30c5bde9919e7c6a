"""Judged steering from files: a judge whose scores are in the text gives the tables that a loop over texts gives."""

import csv
import json
import re
from itertools import product
from pathlib import Path
from statistics import mean, stdev
from typing import Any
from zlib import crc32

import numpy as np
import pytest
from scipy.stats import t

from analysis import validate_vectors
from analysis.judged_steering import JudgedSteering, Scores, judged_interval, judged_mean, report_place
from interp.errors import InputError
from interp.files import write_json
from interp.judges.answers import JudgeUnavailable
from interp.judges.verdicts import read_verdicts
from interp.manifest import file_hash
from interp.steering_store import responses_path, save_responses
from interp.vector_store import vector_path
from tests.analysis.steered import STRENGTHS, Reply, planted_responses
from tests.analysis.synthetic import Synthetic
from tests.analysis.test_validate_vectors import LAYERS, METHODS, steer, write_vector
from tests.judge_server import KEY, JudgeServer

N = 15
N_PUSHES = 1 + 2 * 3 * 2 * 4
DIRECTIONS = ("vector", "random-0", "random-1")
Push = tuple[Any, ...]
NONE: Push = (None, None, None, 0.0)
PLACE: Push = ("mean_difference", "vector", 4, 1.0)
TRAIT = {
    "definition": "d", "instructions": [{"positive": "a", "negative": "b"}], "questions": ["q"],
    "held_out_questions": ["h"], "judge_question": "Is it so?",
}  # fmt: skip


def levels(*push: Any) -> tuple[int, int]:
    """Trait and coherence, in tens: noise, and with the mean difference more of the one and less of the other."""
    method, direction, layer, strength, _ = push
    noise = np.random.default_rng(crc32(repr(push).encode())).integers(0, 3, 2)
    gain = round(strength * layer / 2) if (method, direction) == ("mean_difference", "vector") else 0
    trait, coherence = np.clip([3 + gain + noise[0], 6 - abs(gain) + noise[1]], 0, 10)
    return int(trait), int(coherence)


def scripted(*push: Any) -> str:
    return "T{} C{}.".format(*levels(*push))


def answer(synthetic: Synthetic, trait: str, reply: Reply = scripted, n_questions: int = N) -> None:
    """Replies under the trait's vectors, and the trait's file."""
    vectors = synthetic.paths.vectors
    hashes = {method: file_hash(vector_path(vectors, trait, method)) for method in METHODS}
    save_responses(vectors, planted_responses(trait, hashes, LAYERS, n_questions, reply, n_random=2))
    write_json(synthetic.paths.folder / "traits" / f"{trait}.json", {**TRAIT, "name": trait})


@pytest.fixture
def answered(synthetic: Synthetic) -> Synthetic:
    synthetic.write_config({"pep_organism": "pep"}, ["discovery"], LAYERS)
    for trait in ("flattery", "pep"):
        for method in METHODS:
            write_vector(synthetic, trait, method)
        steer(synthetic, trait)
        answer(synthetic, trait)
    return synthetic


@pytest.fixture
def script(tmp_path: Path) -> str:
    """A judge that reads both scores in the text."""
    rules = [
        {"pattern": rf"\bT{a} C{b}\b", "verdict": {"trait": 10 * a, "coherence": 10 * b}}
        for a, b in product(range(11), repeat=2)
    ]
    write_json(tmp_path / "script.json", {"name": "levels", "rules": rules})
    return f"scripted:{tmp_path / 'script.json'}"


def run(synthetic: Synthetic, *flags: str, status: int = 0) -> Path:
    assert validate_vectors.main(["--experiment", synthetic.name, "--root", str(synthetic.root), *flags]) == status
    return synthetic.paths.analysis / "validate_vectors"


def rows(folder: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((folder / "judged.csv").read_text().splitlines()))


def key(row: dict[str, str]) -> Push:
    if not row["method"]:
        return NONE
    return row["method"], row["direction"], int(row["layer"]), float(row["strength"])


def t_interval(values: list[float]) -> list[float]:
    half = t.ppf(0.975, len(values) - 1) * stdev(values) / len(values) ** 0.5
    return [mean(values), mean(values) - half, mean(values) + half]


def best_place(method: str) -> tuple[int, float]:
    """By a loop over layers and strengths, on every other question."""
    found: list[tuple[float, int, float]] = []
    for layer, strength in product(LAYERS, STRENGTHS):
        scores = [levels(method, "vector", layer, strength, item) for item in range(0, N, 2)]
        if strength > 0 and mean(b for _, b in scores) >= 5:
            found.append((mean(a for a, _ in scores), -layer, -strength))
    _, layer, strength = max(found)
    return -layer, -strength


def test_the_table_is_what_a_loop_over_the_texts_gives(answered: Synthetic, script: str) -> None:
    table = rows(run(answered, "--judge", script))
    pushes = [NONE, *product(METHODS, DIRECTIONS, LAYERS, filter(None, STRENGTHS))]
    asked = {"all": range(N), "choose": range(0, N, 2), "report": range(1, N, 2)}
    expected_keys = [(trait, push, name) for trait in ("flattery", "pep") for push in pushes for name in asked]
    assert sorted(map(repr, expected_keys)) == sorted(repr((r["trait"], key(r), r["questions"])) for r in table)
    for row in table:
        scores = [levels(*key(row), item) for item in asked[row["questions"]]]
        expected = [figure for values in zip(*scores, strict=True) for figure in t_interval([10.0 * v for v in values])]
        names = [f"{what}{end}" for what in ("trait", "coherence") for end in ("", "_low", "_high")]
        got = [float(row["trait_score" if name == "trait" else name]) for name in names]
        assert got == pytest.approx(expected, rel=1e-5)
        assert (row["n_judged"], row["n_unjudged"]) == (str(len(scores)), "0")
    chosen = {(row["trait"], row["method"]): key(row) for row in table if row["chosen"] == "1"}
    assert chosen == {
        (trait, method): (method, "vector", *best_place(method)) for trait in ("flattery", "pep") for method in METHODS
    }
    assert chosen["pep", "mean_difference"][2:] == (4, 1.0), "at 2.0 the trait is stronger, and the text incoherent"


def test_the_summary_reports_the_other_half_beside_random_directions(answered: Synthetic, script: str) -> None:
    text = (run(answered, "--judge", script) / "summary.md").read_text()
    place = best_place("mean_difference")
    report = range(1, N, 2)
    vector = [10.0 * levels("mean_difference", "vector", *place, i)[0] for i in report]
    bare = [10.0 * levels(*NONE, i)[0] for i in report]
    both = [[10.0 * levels("mean_difference", d, *place, i)[0] for d in DIRECTIONS[1:]] for i in report]
    random = [mean(each) for each in both]
    over = [[a - b for a, b in zip(vector, other, strict=True)] for other in (bare, random)]
    cells = ["{:.1f} ({:.1f} to {:.1f})".format(*t_interval(values)) for values in (vector, bare, random, *over)]
    assert f"| pep | mean_difference | 7 | 0 | 4 | 1 | {' | '.join(cells)} |" in text
    shows = all(t_interval(each)[1] > 0 for each in over)
    assert shows and re.search(r"\| pep \| mean_difference .* ✓ \|", text)
    assert re.search(r"\| pep \| logistic_probe .* ✗ \|", text) and "**2 of 4 vectors make the trait show.**" in text
    assert f"0 of {2 * N * N_PUSHES} replies are unjudged" in text
    assert text.index("## Steering") < text.index("## Judged replies") < text.index("## Agreement")


def test_no_judge_no_difference(answered: Synthetic, script: str) -> None:
    folder = run(answered)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert "judged.csv" not in before and b"Judged" not in before["summary.md"]
    run(answered, "--judge", script)
    assert (folder / "judged.csv").exists()
    run(answered)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_nothing_is_asked_twice_and_half_the_verdicts_are_gone_on_from(answered: Synthetic, script: str) -> None:
    folder = run(answered, "--judge", script)
    tables = {path.name: path.read_bytes() for path in folder.iterdir()}
    (path,) = responses_path(answered.paths.vectors, "pep").with_suffix(".verdicts").glob("trait_score-*.jsonl")
    whole, written = path.read_bytes(), (folder / "judged.csv").stat().st_mtime_ns
    run(answered, "--judge", script)
    assert path.read_bytes() == whole and (folder / "judged.csv").stat().st_mtime_ns == written
    half = b"".join(whole.splitlines(keepends=True)[: len(whole.splitlines()) // 2])
    path.write_bytes(half + b'{"key": "cut o')
    run(answered, "--judge", script)
    assert path.read_bytes().startswith(half) and len(list(read_verdicts(path))) == N * N_PUSHES
    assert {name: content for name, content in tables.items() if name != "_made_from.json"} == {
        each.name: each.read_bytes() for each in folder.iterdir() if each.name != "_made_from.json"
    }


def test_another_definition_or_other_replies_are_judged_anew(answered: Synthetic, script: str) -> None:
    folder = run(answered, "--judge", script)
    before = (folder / "judged.csv").read_text()
    (path,) = responses_path(answered.paths.vectors, "pep").with_suffix(".verdicts").glob("*.jsonl")
    n_verdicts = len(list(read_verdicts(path)))
    trait = answered.paths.folder / "traits" / "pep.json"
    write_json(trait, {**json.loads(trait.read_text()), "definition": "Something else."})
    run(answered, "--judge", script)
    assert len(list(read_verdicts(path))) == 2 * n_verdicts and (folder / "judged.csv").read_text() == before
    answer(answered, "pep", lambda *_: "T9 C8.")
    after = [row for row in rows(run(answered, "--judge", script)) if row["trait"] == "pep"]
    assert {row["trait_score"] for row in after} == {"90"}, "not the verdict on an old text under the same id"
    answer(answered, "pep")
    trait.write_text(trait.read_text().replace('"d"', '"Something else."'))
    assert (run(answered, "--judge", script) / "judged.csv").read_text() == before, "nor that on a later one"


def test_unjudged_replies_are_counted_and_asked_for_again(
    answered: Synthetic, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The endpoint says 90 and 90 to a text with YES, else 10 and 10."""

    def reply(*push: Any) -> str:
        item = push[-1]
        if push[:-1] != PLACE:
            return "no"
        return {1: "FAULT=400*; YES", 2: "FAULT=400; YES"}.get(item, f"YES {item}")

    answer(answered, "pep", reply)
    n_replies = N * (1 + 3 * 2 * 4)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with JudgeServer() as server:
        flags = ("--traits", "pep", "--methods", "mean_difference", "--judge", "m", "--base-url", server.base_url)
        for still_unjudged, status in ((2, 1), (1, 1)):
            folder = run(answered, *flags, status=status)
            found = {row["questions"]: row for row in rows(folder) if key(row) == PLACE}
            counts = {name: (row["n_judged"], row["n_unjudged"]) for name, row in found.items()}
            n = N - still_unjudged
            assert counts["all"] == (str(n), str(still_unjudged)) and counts["report"] == ("6", "1")
            assert {row["trait_score"] for row in found.values()} == {"90"} and found["all"]["chosen"] == "1"
            text = (folder / "summary.md").read_text()
            assert f"{still_unjudged} of {n_replies} replies are unjudged" in text
            assert f"| mean_difference | 7 | {still_unjudged} | 4 | 1 | 90.0" in text
            assert f"{still_unjudged} of {n_replies} steered replies are unjudged" in caplog.text
        asked = server.log()["answered"]
        assert len(asked) == N - 1 + N, "each text once: one of `no` for every question, and those of the chosen place"
        answer(answered, "flattery", lambda *_: "FAULT=400*;")
        folder = run(answered, *flags[2:], "--traits", "flattery", status=1)
        assert {row["trait_score"] + row["n_judged"] for row in rows(folder)} == {"0"}
        assert "✗ (nowhere coherent)" in (folder / "summary.md").read_text()
        monkeypatch.setenv("OPENAI_API_KEY", "sk-test-expired-0123456789")
        answer(answered, "pep", lambda *_: "new")
        with pytest.raises(JudgeUnavailable):
            run(answered, *flags)


def test_what_cannot_be_judged_is_one_line(
    answered: Synthetic, script: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(InputError, match="give --judge too"):
        run(answered, "--dry-run")
    run(answered, "--dry-run", "--judge", script)
    assert f"judge pep steered by logistic_probe, mean_difference: {N * N_PUSHES} items" in capsys.readouterr().out
    assert not list(answered.paths.vectors.glob("*/*.verdicts/*")) and not answered.paths.analysis.exists()
    answer(answered, "flattery", n_questions=3)
    text = (run(answered, "--judge", script) / "summary.md").read_text()
    assert "- Left out: flattery: fewer than 4 questions were answered under steering." in text
    responses_path(answered.paths.vectors, "flattery").unlink()
    text = (run(answered, "--judge", script) / "summary.md").read_text()
    assert "- Left out: flattery: no steered replies (inference/steer_with_vectors.py --responses)." in text
    with pytest.raises(InputError, match=r"no steered replies in .*steer_with_vectors.py --experiment synth"):
        run(answered, "--judge", script, "--traits", "flattery")
    write_vector(answered, "pep", "logistic_probe", n_questions=11)
    with pytest.raises(InputError, match=r"steered_responses.parquet was .* another logistic_probe.safetensors"):
        run(answered, "--judge", script)


def steering(trait: list[list[list[float]]], coherence: float = 80.0) -> JudgedSteering:
    """A vector and a random direction at two layers and two strengths, -1 and 1; `trait[layer][strength]`."""
    scores = np.array([trait, np.full_like(trait, 20.0)])
    unsteered = np.full(scores.shape[-1], 10.0)
    return JudgedSteering(
        "pep", "m", ("vector", "random-0"), (3, 8), (-1.0, 1.0), Scores(scores, scores * 0 + coherence),
        Scores(unsteered, unsteered + 70),
    )  # fmt: skip


def test_a_layer_is_chosen_by_one_half_at_strengths_above_zero() -> None:
    other_half_only, backwards = [30.0, 99.0, 30.0, 99.0], [95.0, 95.0, 95.0, 95.0]
    judged = steering([[backwards, other_half_only], [backwards, [40.0, 50.0, 60.0, 60.0]]])
    assert judged.chosen is not None and (judged.chosen.layer, judged.chosen.strength) == (1, 1)
    found = report_place(judged, judged.chosen)
    assert found.trait and found.trait.estimate == 55 and found.random and found.random.estimate == 20
    assert found.over_unsteered and found.over_unsteered.estimate == 45 and not found.shows, "two questions: 45 ± 64"
    assert steering([[backwards] * 2] * 2, coherence=49.9).chosen is None
    assert steering([[backwards] * 2] * 2, coherence=50).chosen is not None


def test_an_unjudged_reply_is_no_zero() -> None:
    nan = float("nan")
    judged = steering([[[nan] * 4] * 2, [[50.0] * 4, [60.0, 70.0, nan, nan]]])
    assert judged.chosen is not None and judged.chosen.layer == 1 and judged.n_unjudged == 8 + 2
    found = report_place(judged, judged.chosen)
    assert found.trait is not None and found.trait.estimate == 70 and not found.shows, "one question proves nothing"
    assert judged_interval(np.array([nan, nan])) is None
    assert judged_mean(np.array([[1.0, nan, 3.0], [nan, nan, nan]])).tolist()[0] == 2
