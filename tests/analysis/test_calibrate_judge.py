"""From labels and a verdict file to rates: what was planted comes out; what cannot be said is refused."""

import json
from pathlib import Path

import pytest

from analysis.calibrate_judge import main
from interp.errors import InputError
from interp.judges.judging import judge_all
from interp.judges.rubrics import read_rubric
from interp.judges.scripted import ScriptedJudge
from interp.judges.verdicts import VerdictFile, VerdictLine

N = 400


def judged(folder: Path, rubric_name: str = "trait_shown") -> Path:
    """Items are positive from the 101st to the 200th; the judge misses every tenth of them, and makes up every 20th."""
    rubric = read_rubric(rubric_name)
    texts = {"definition": "d", "judge_question": "j", "question": "q"}

    def rule(text: str) -> dict[str, bool | int]:
        number = int(text)
        said = number % 10 != 0 if 100 <= number < 200 else number % 20 == 0
        return {"shows": said} if rubric_name == "trait_shown" else {"trait": 80 if said else 20}

    path = folder / "v.jsonl"
    with VerdictFile(path, rubric, "scripted") as file:
        items = ((f"i{each}", {**texts, "response": str(each)}) for each in range(N))
        judge_all(items, ScriptedJudge(rule), rubric, file)
        error = VerdictLine(
            key="00" * 16, item="unjudged", rubric=rubric.name, rubric_hash=rubric.hash, judge="scripted", verdict=None,
            error="HTTP 500",
        )  # fmt: skip
        file.append(error)
    return path


def labelled(folder: Path, suffix: str = ".csv") -> Path:
    rows = [(f"i{each}", 100 <= each < 200) for each in range(300)]
    path = folder / f"labels{suffix}"
    rows.append(("unjudged", True))
    if suffix == ".csv":
        path.write_text("item,label\n" + "".join(f"{item},{'yes' if label else 'no'}\n" for item, label in rows))
    else:
        path.write_text("".join(json.dumps({"item": item, "label": label}) + "\n" for item, label in rows))
    return path


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_planted_rates_come_out(tmp_path: Path, suffix: str, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--experiment", "e", "--root", str(tmp_path), "--labels", str(labelled(tmp_path, suffix))]
    assert main([*options, "--verdicts", str(judged(tmp_path)), "--field", "shows"]) == 0
    found = json.loads((tmp_path / "e" / "analysis" / "calibrate_judge" / "v" / "calibration.json").read_text())
    assert found["counts"] == {
        "true_positives": 90, "false_negatives": 10, "true_negatives": 190, "false_positives": 10,
    }  # fmt: skip
    assert (found["tpr"]["estimate"], found["tnr"]["estimate"]) == (0.9, 0.95)
    assert (found["judged"], found["unjudged"], found["labelled_unjudged"]) == (N, 1, 1)
    assert found["observed"]["estimate"] == pytest.approx(105 / N)
    assert found["corrected"]["value"] == pytest.approx((105 / N + 0.95 - 1) / 0.85)
    assert found["corrected"]["clipped"] is False
    assert found["corrected"]["low"] < 0.25 < found["corrected"]["high"]
    shown = capsys.readouterr().out
    assert "TPR    0.900" in shown and "0.250" in shown and "1 unjudged" in shown


def test_a_number_is_positive_from_a_threshold_on(tmp_path: Path) -> None:
    path = judged(tmp_path, "trait_score")
    options = ["--experiment", "e", "--root", str(tmp_path), "--labels", str(labelled(tmp_path))]
    assert main([*options, "--verdicts", str(path), "--field", "trait", "--at-least", "50"]) == 0
    found = json.loads((tmp_path / "e" / "analysis" / "calibrate_judge" / "v" / "calibration.json").read_text())
    assert found["tpr"]["estimate"] == 0.9 and found["positive"] == "at least 50"
    with pytest.raises(InputError, match="--at-least"):
        main([*options, "--verdicts", str(path), "--field", "trait"])


@pytest.mark.parametrize(
    ("labels", "field", "words"),
    [
        ("item,label\ni1,maybe\n", "shows", "row 1"), ("item,label\ni1,1\ni1,0\n", "shows", "both ways"),
        ("id,label\ni1,1\n", "shows", "needs `item`"), ("item,label\nx,1\n", "shows", "no labelled item"),
        ("item,label\ni1,1\n", "show", "they have: reasoning, shows"), ("item,label\n", "shows", "no labels"),
        ("item,label\ni0,0\ni1,1\ni20,0\ni2,1\n", "shows", "no better than chance"),
    ],
)  # fmt: skip
def test_what_cannot_be_said_is_refused(tmp_path: Path, labels: str, field: str, words: str) -> None:
    path = tmp_path / "labels.csv"
    path.write_text(labels)
    options = ["--experiment", "e", "--root", str(tmp_path), "--labels", str(path)]
    with pytest.raises(InputError, match=words):
        main([*options, "--verdicts", str(judged(tmp_path)), "--field", field])
    assert not (tmp_path / "e").exists()
