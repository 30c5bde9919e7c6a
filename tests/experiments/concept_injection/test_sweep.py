"""Whole sweeps by the real command: resumption, refusals, judges, stores."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from experiments.concept_injection import backfill_judges, rejudge
from experiments.concept_injection.judging import RUBRIC, open_verdicts, values_of
from experiments.concept_injection.sweep import main
from experiments.concept_injection.trials import TrialRecord
from interp.errors import InputError, SettingsChanged
from interp.judges.rubrics import read_rubric
from interp.judges.verdicts import latest_verdicts, read_verdicts
from interp.paths import REPOSITORY
from interp.stores import open_store, read_grown
from tests.experiments.concept_injection.conftest import Swept

Make = Callable[..., Swept]


def test_a_line_holds_what_the_brief_asks_for(sweep_in: Make) -> None:
    swept = sweep_in()
    assert swept.run() == 0
    content = swept.content()
    assert sorted(content) == sorted(
        f"{name}{end}.jsonl" for name in ("control", "fear", "ocean") for end in ("", ".log_odds")
    )
    line = content["fear.jsonl"][0]
    assert (line["id"], line["concept"], line["was_injected"]) == ("fear_injection_L1_S2.0_t0", "fear", True)
    config = line["config"]
    assert config["magnitude"] == pytest.approx(2.0 * config["vector_norm"]) and config["layer"] == 1
    assert (config["prompt_version"], config["inject_style"], config["trial"]) == ("v2", "generation", 0)
    control = content["control.jsonl"][0]
    assert (control["id"], control["concept"], control["was_injected"]) == ("control_t0", None, False)
    others = [row for row in content["fear.jsonl"] if row["config"]["condition"] != "injection"]
    assert others and not any(row["was_injected"] for row in others)


def test_a_finished_sweep_loads_nothing(sweep_in: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    swept = sweep_in()
    swept.run()
    before = {path.name: path.read_bytes() for path in swept.paths.folder.iterdir() if path.is_file()}

    def load(*_: object) -> None:
        raise AssertionError("a model was loaded")

    monkeypatch.setattr("interp.models.load_language_model", load)
    assert swept.run() == 0
    assert {path.name: path.read_bytes() for path in swept.paths.folder.iterdir() if path.is_file()} == before


def test_a_torn_sweep_ends_as_an_uninterrupted_one(sweep_in: Make) -> None:
    whole, torn = sweep_in("whole"), sweep_in("torn")
    whole.run()
    torn.run()
    lines = torn.paths.records("fear").read_bytes().splitlines(keepends=True)
    torn.paths.records("fear").write_bytes(b"".join(lines[:11]) + lines[11][:40])
    torn.paths.log_odds("fear").unlink()
    torn.paths.records("ocean").unlink()
    assert torn.run() == 0
    assert torn.content() == whole.content()
    assert torn.paths.records("fear").read_bytes().startswith(b"".join(lines[:11])), "what was there is not made again"


def test_kills_lose_nothing(sweep_in: Make) -> None:
    """kill -9 at random moments of a real process; then the rest, once more."""
    whole, killed = sweep_in("whole"), sweep_in("killed")
    whole.run()
    command = [sys.executable, "-m", "experiments.concept_injection.sweep", *killed.flags()]
    draw = random.Random(0)
    for _ in range(4):
        process = subprocess.Popen(command, cwd=REPOSITORY, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        wait_for_lines(killed, process)
        time.sleep(draw.uniform(0, 0.5))
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert killed.run() == 0
    assert killed.content() == whole.content()


def wait_for_lines(swept: Swept, process: "subprocess.Popen[bytes]") -> None:
    """Until a process has added a line, or ended."""
    before = total_bytes(swept)
    while process.poll() is None and total_bytes(swept) == before:
        time.sleep(0.01)


def total_bytes(swept: Swept) -> int:
    return sum(path.stat().st_size for path in swept.paths.folder.glob("*.jsonl"))


def test_shards_make_the_files_of_one_run(sweep_in: Make) -> None:
    whole, parts = sweep_in("whole"), sweep_in("parts")
    whole.run()
    for shard in ("2/3", "0/3", "1/3"):
        parts.run("--shard", shard)
    assert parts.content() == whole.content()


def test_another_request_never_goes_on_from_these_lines(sweep_in: Make) -> None:
    sweep_in().run()
    for changes in ({"strengths": (2.0,)}, {"inject_style": "all"}, {"trials": 3}, {"prompt_version": "v1"}):
        with pytest.raises(SettingsChanged, match=next(iter(changes))):
            sweep_in(**changes).run()
    changed = sweep_in(strengths=(2.0,), conditions=("injection",))
    assert changed.run("--overwrite") == 0
    assert len(changed.content()["fear.jsonl"]) == 2 * 1 * 2


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"prompt_version": "v9"}, "unknown prompt version 'v9'; there are: dialogue, v1, v2, v3a, v3b, v3c"),
        ({"baseline": "none"}, "no word list 'none'"),
        ({"layers": (1, 9)}, "has layers 0 to 3, not 9"),
    ],
)
def test_a_wrong_request_is_one_line(sweep_in: Make, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        sweep_in(**changes).run()


def test_a_concept_is_no_baseline_word(sweep_in: Make) -> None:
    from experiments.concept_injection.prompts import read_words

    with pytest.raises(InputError, match="both a concept and a word of the baseline"):
        sweep_in(concepts=("fear", read_words("baseline")[3])).run()


def test_the_plan_loads_and_writes_nothing(sweep_in: Make, capsys: pytest.CaptureFixture[str]) -> None:
    swept = sweep_in(layers=(), depths=(0.5,))
    assert swept.run("--dry-run") == 0
    plan = capsys.readouterr().out
    assert "layers 2; strengths 2.0, 8.0" in plan and "fear.jsonl: 12 trials, 12 left" in plan
    assert not swept.root.exists()


def test_the_sweep_needs_a_name(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"--experiment-id"):
        main(["--local", "--root", str(tmp_path)])
    with pytest.raises(InputError, match=r"planted_quirks\.build"):
        main(["--local", "--experiment-id", "e", "--model", "planted_quirks", "--root", str(tmp_path)])


@pytest.fixture
def script(tmp_path: Path) -> str:
    """A judge that takes every reply with an `e` for a claim of fear."""
    rules = [{"pattern": "e", "verdict": {"claims_detection": True, "claimed_concept": "fear", "coherent": True}}]
    path = tmp_path / "script.json"
    path.write_text(json.dumps({"name": "e", "rules": rules, "otherwise": {"coherent": True}}))
    return f"scripted:{path}"


def verdicts_of(swept: Swept, name: str) -> Path:
    (path,) = (swept.paths.folder / f"{name}.verdicts").glob("*.jsonl")
    return path


def verdicts(swept: Swept, name: str) -> dict[str, Any]:
    return {item: line.verdict for item, line in latest_verdicts(verdicts_of(swept, name)).items()}


def test_judging_meanwhile_is_judging_later(sweep_in: Make, script: str) -> None:
    online, later = sweep_in("online"), sweep_in("later")
    assert online.run("--judge", script) == 0
    later.run()
    assert backfill_judges.main([str(later.paths.folder), "--judge", script, "--workers", "3"]) == 0
    for name in online.request.files:
        both = [verdicts(each, name) for each in (online, later)]
        assert both[0] == both[1] and len(both[0]) == len(online.content()[f"{name}.jsonl"])
    before = verdicts_of(later, "fear").read_bytes()
    assert backfill_judges.main([str(later.paths.folder), "--judge", script]) == 0
    assert verdicts_of(later, "fear").read_bytes() == before, "nothing is judged twice"


def test_a_resumed_sweep_judges_what_was_not_judged(sweep_in: Make, script: str) -> None:
    swept = sweep_in()
    swept.run()
    path = swept.paths.records("fear")
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:5]))
    assert swept.run("--judge", script) == 0
    assert len(latest_verdicts(verdicts_of(swept, "fear"))) == len(lines)


def test_the_plan_of_judging_asks_nothing(sweep_in: Make, script: str, capsys: pytest.CaptureFixture[str]) -> None:
    swept = sweep_in()
    swept.run()
    assert backfill_judges.main([str(swept.paths.folder), "--judge", script, "--dry-run"]) == 0
    assert "fear.jsonl: 24 items" in capsys.readouterr().out
    assert not list(swept.paths.folder.glob("*.verdicts/*"))


def test_rejudging_writes_the_joined_file(sweep_in: Make, script: str, tmp_path: Path) -> None:
    swept = sweep_in()
    swept.run()
    source, target = swept.paths.records("fear"), tmp_path / "judged.jsonl"
    before = source.read_bytes()
    assert rejudge.main(["--judge", script, "--input", str(source), "--output", str(target)]) == 0
    rows = [json.loads(line) for line in target.read_text().splitlines()]
    assert [row["id"] for row in rows] == [row["id"] for row in swept.content()["fear.jsonl"]]
    assert source.read_bytes() == before
    for row in rows:
        said = "e" in row["response"].lower()
        assert row["judge_error"] is None and row["judge"]["detected_concept"] == ("fear" if said else None)
        if row["was_injected"]:
            assert row["judge"]["answer"] == ("pass" if said else "fail")
    with pytest.raises(InputError, match="another file"):
        rejudge.main(["--judge", script, "--input", str(source), "--output", str(source)])


def test_the_judge_is_blind(sweep_in: Make) -> None:
    swept = sweep_in()
    swept.run()
    for row in swept.content()["fear.jsonl"]:
        record = TrialRecord.model_validate({**row, "timestamp": ""})
        assert values_of(record, "asked") == {"question": "asked", "response": record.response}


def test_a_store_has_it_all_and_another_machine_goes_on(sweep_in: Make, script: str, tmp_path: Path) -> None:
    """The first machine is lost with half a file; the second fetches what was stored and does the rest."""
    whole = sweep_in("whole")
    whole.run()
    lost, second, url = sweep_in("lost"), sweep_in("second"), str(tmp_path / "bucket")
    store = ["--store", url, "--upload-every", "8", "--judge", script]
    process = subprocess.Popen(
        [sys.executable, "-m", "experiments.concept_injection.sweep", *lost.flags(*store)],
        cwd=REPOSITORY, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    while process.poll() is None and not list(Path(url).rglob("part-*")):
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    stored = {path.name: len(read_grown(open_store(url), f"e/tiny/{path.name}").splitlines())
              for path in lost.paths.folder.glob("*.jsonl") if stored_at_all(url, path.name)}  # fmt: skip
    assert second.run(*store) == 0
    assert second.content() == whole.content()
    for name in ("control.jsonl", "fear.jsonl", "ocean.jsonl"):
        assert read_grown(open_store(url), f"e/tiny/{name}") == (second.paths.folder / name).read_bytes()
        assert open_store(url).exists(f"e/tiny/{name}")
    kept = [line.item for line in read_verdicts(verdicts_of(second, "fear"))]
    assert len(kept) == len(set(kept)) == 24
    assert sum(stored.values()) > 0, "the second machine had something to fetch"
    rubric = read_rubric(RUBRIC)
    path = open_verdicts(second.paths.records("fear"), rubric, next(read_verdicts(verdicts_of(second, "fear"))).judge)
    assert open_store(url).exists(f"e/tiny/fear.verdicts/{path.name}")


def stored_at_all(url: str, name: str) -> bool:
    return any(each.startswith(f"e/tiny/{name}") for each in open_store(url).list("e/tiny/"))


def test_a_store_belongs_to_one_request(sweep_in: Make, tmp_path: Path) -> None:
    """A machine with an empty disk cannot tell whose the lines are that it fetches, so the store says it."""
    store = ["--store", str(tmp_path / "bucket")]
    assert sweep_in("first").run(*store) == 0
    with pytest.raises(SettingsChanged, match=r"another request .*prompt_version: .v2. -> .v1."):
        sweep_in("second", prompt_version="v1").run(*store)
    assert sweep_in("third").run(*store) == 0
