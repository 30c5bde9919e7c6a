"""Judging what organisms wrote: whom it is asked of, and that nothing is asked twice."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from analysis.firing import read_shown
from inference.judge_responses import asked_traits, main
from interp.files import write_json
from interp.judges.verdicts import latest_verdicts
from tests.analysis.synthetic import Synthetic

TRAIT = {
    "definition": "d", "instructions": [{"positive": "a", "negative": "b"}], "questions": ["q"],
    "held_out_questions": ["h"], "judge_question": "Is it so?",
}  # fmt: skip


@pytest.fixture
def audit(tmp_path: Path) -> Iterator[Synthetic]:
    synthetic = Synthetic(tmp_path)
    synthetic.write_config({"x": "pep", "y": "calm", "sham": None, "z": "pep"}, ["set"])
    synthetic.write_prompts("set", ["p0", "p1"])
    for author in ("x", "y", "sham", "z"):
        for prompt_id in ("p0", "p1"):
            synthetic.write_response(author, "set", prompt_id, ["Wow", f" {author}" if prompt_id == "p0" else "."])
    for name in ("pep", "calm"):
        write_json(synthetic.paths.folder / "traits" / f"{name}.json", {**TRAIT, "name": name, "definition": name})
    yield synthetic


@pytest.fixture
def script(tmp_path: Path) -> str:
    rules = [{"pattern": "wow x", "verdict": {"shows": True}}]
    path = tmp_path / "script.json"
    path.write_text(json.dumps({"name": "wow", "rules": rules, "otherwise": {}}))
    return f"scripted:{path}"


def judge(audit: Synthetic, script: str, *flags: str) -> int:
    return main(["--experiment", audit.name, "--root", str(audit.root), "--judge", script, *flags])


def test_an_author_is_judged_for_its_own_trait_and_others_stand_beside_it(audit: Synthetic) -> None:
    authors = ["x", "y", "sham", "z"]
    assert asked_traits(audit.experiment, authors, 1) == {
        "x": ["pep"], "y": ["calm"], "sham": ["calm", "pep"], "z": ["pep"]
    }  # fmt: skip
    assert asked_traits(audit.experiment, authors, 2)["y"] == ["calm", "pep"], "after the shams the next in the config"


def test_verdicts_say_what_fired(audit: Synthetic, script: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert judge(audit, script, "--dry-run") == 0
    plan = capsys.readouterr().out
    assert "judge z set for pep: 2 items, 0 of them judged" in plan
    assert "judge x set for calm, pep: 4 items, 0 of them judged" in plan
    assert not list(audit.paths.inference.glob("*/verdicts/*/*")), "a plan leaves nothing behind"
    assert judge(audit, script) == 0
    shown = read_shown(audit.experiment, ["x", "y", "sham", "z"], ["set"])
    assert shown["x", "pep"] == {("set", "p0"): True, ("set", "p1"): False}
    assert set(shown) == {("x", "pep"), ("z", "pep"), ("y", "calm"), ("y", "pep"), ("sham", "pep"), ("sham", "calm"),
                          ("x", "calm")}  # fmt: skip
    (path,) = audit.paths.verdicts("x", "set").glob("*.jsonl")
    before = path.read_bytes()
    assert judge(audit, script) == 0 and path.read_bytes() == before, "nothing is asked twice"
    assert {line.judge.rpartition("-")[0] for line in latest_verdicts(path).values()} == {"scripted-wow"}


def test_a_trait_with_a_marker_needs_no_judge(audit: Synthetic, script: str) -> None:
    write_json(audit.paths.folder / "traits" / "pep.json", {**TRAIT, "name": "pep", "marker": "Wow"})
    assert judge(audit, script) == 0
    assert not list(audit.paths.verdicts("z", "set").glob("*.jsonl"))
    assert len(read_shown(audit.experiment, ["z"], ["set"])["z", "pep"]) == 2


def test_a_new_response_is_judged_and_the_others_are_not_again(audit: Synthetic, script: str) -> None:
    path = audit.paths.responses("x", "set") / "p1.json"
    content = path.read_bytes()
    path.unlink()
    assert judge(audit, script, "--traits", "pep", "--model-variant", "x") == 0
    (verdicts,) = audit.paths.verdicts("x", "set").glob("*.jsonl")
    assert list(latest_verdicts(verdicts)) == ["pep/p0"]
    first = verdicts.read_bytes()
    path.write_bytes(content)
    assert judge(audit, script, "--traits", "pep", "--model-variant", "x") == 0
    assert verdicts.read_bytes().startswith(first) and len(latest_verdicts(verdicts)) == 2
