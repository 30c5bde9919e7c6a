"""A scripted judge says what its script says, and errs as often as it is told to."""

import asyncio
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from interp.errors import InputError
from interp.judges.judging import judge_all
from interp.judges.rubrics import Rubric, Verdict
from interp.judges.scripted import Rates, ScriptedJudge, read_scripted_judge
from interp.judges.verdicts import read_verdicts
from tests.interp.judges.conftest import items, verdict_file

SCRIPT = {
    "name": "words",
    "rules": [
        {"pattern": "i (cannot|can't)", "verdict": {"refused": True}},
        {"pattern": r"thought about (?P<claimed_concept>\w+)", "verdict": {"claims_detection": True}},
    ],
    "otherwise": {"reasoning": "nothing is claimed", "coherent": True},
}


def written(folder: Path, **changes: Any) -> Path:
    path = folder / "script.json"
    path.write_text(json.dumps({**SCRIPT, **changes}))
    return path


def say(judge: ScriptedJudge, rubric: Rubric, text: str) -> Verdict:
    answered = asyncio.run(judge.judge(rubric.messages(items(text)[0][1]), rubric))
    assert answered.verdict is not None and (answered.requests, answered.cost) == (0, 0.0)
    return answered.verdict


def test_the_first_rule_that_is_found_decides(tmp_path: Path, rubric: Rubric) -> None:
    judge = read_scripted_judge(written(tmp_path))
    found = say(judge, rubric, "I notice a Thought about Fear.")
    assert found["claims_detection"] is True and found["claimed_concept"] == "Fear" and found["refused"] is False
    assert say(judge, rubric, "I can't say. A thought about fear?")["refused"] is True
    assert say(judge, rubric, "No.") == {
        "reasoning": "nothing is claimed", "claims_detection": False, "claimed_concept": None, "coherent": True,
        "refused": False,
    }  # fmt: skip


def test_only_the_named_text_is_searched(tmp_path: Path, rubric: Rubric) -> None:
    judge = read_scripted_judge(written(tmp_path, value="question"))
    assert say(judge, rubric, "a thought about fear")["claims_detection"] is False


def test_rates_of_error_are_kept_and_the_same_each_time(tmp_path: Path, rubric: Rubric) -> None:
    texts = [f"{number} {'YES' if number % 2 else ''}" for number in range(4000)]
    said = []
    for name in ("one", "other"):
        judge = ScriptedJudge(
            lambda text: {"claims_detection": "YES" in text}, name="judge/model",
            noise={"claims_detection": Rates(true_positive_rate=0.8, true_negative_rate=0.9)},
        )  # fmt: skip
        with verdict_file(tmp_path / name, rubric) as file:
            judge_all(items(*texts), judge, rubric, file)
        by_item = {line.item: (line.verdict or {})["claims_detection"] for line in read_verdicts(file.path)}
        said.append([by_item[f"i{number}"] for number in range(4000)])
    assert said[0] == said[1]
    truth, verdict = np.arange(4000) % 2 == 1, np.array(said[0])
    assert verdict[truth].mean() == pytest.approx(0.8, abs=4 * (0.16 / 2000) ** 0.5)
    assert (~verdict[~truth]).mean() == pytest.approx(0.9, abs=4 * (0.09 / 2000) ** 0.5)


def test_another_script_is_another_judge(tmp_path: Path) -> None:
    changes: list[dict[str, Any]] = [{}, {"seed": 1}, {"otherwise": {}}]
    names = {read_scripted_judge(written(tmp_path, **change)).name for change in changes}
    assert len(names) == 3 and all(name.startswith("scripted-words-") for name in names)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"otherwise": {"shows": True}}, "shows are not of rubric"), ({"otherwise": {"coherent": "yes"}}, "coherent"),
        ({"noise": {"reasoning": {}}}, "no boolean field"), ({"value": "reply"}, "no placeholder"),
    ],
)  # fmt: skip
def test_a_script_that_does_not_fit_the_rubric_is_refused(
    tmp_path: Path, rubric: Rubric, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(InputError, match=words):
        say(read_scripted_judge(written(tmp_path, **changes)), rubric, "No.")


@pytest.mark.parametrize(
    "changes", [{"rules": [{"pattern": "("}]}, {"noise": {"coherent": {"true_positive_rate": 2}}}, {"sead": 3}]
)
def test_a_malformed_script_is_refused(tmp_path: Path, changes: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"script\.json"):
        read_scripted_judge(written(tmp_path, **changes))
