"""Batches: matched by id, resumed after a kill at any point, never handed in twice."""

import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from interp.judges import batch_api
from interp.judges.answers import JudgeUnavailable
from interp.judges.batch_api import judge_in_batches
from interp.judges.batch_client import BatchClient
from interp.judges.judging import Tally, judge_all
from interp.judges.openai_judge import Endpoint, OpenAIJudge
from interp.judges.rubrics import Rubric
from interp.judges.verdicts import VerdictFile, latest_verdicts, read_verdicts
from tests.interp.judges.conftest import items, judge_at, verdict_file
from tests.judge_server import EXPIRED, JudgeServer

TEXTS = [f"{'YES' if number % 3 == 0 else 'no'} {number % 25}" for number in range(30)]


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_api, "MOST_ROWS", 10)


def batches(server: JudgeServer, rubric: Rubric, file: VerdictFile, texts: list[str], **options: Any) -> Tally:
    judge = judge_at(server, cap=options.pop("cap", None), **options)
    return judge_in_batches(items(*texts), judge, rubric, file, poll_seconds=0.01)


def test_batches_give_the_verdicts_that_calls_give(server: JudgeServer, tmp_path: Path, rubric: Rubric) -> None:
    server.tell(polls=3)
    with verdict_file(tmp_path / "batches", rubric) as file:
        tally = batches(server, rubric, file, TEXTS)
    log = server.log()
    with verdict_file(tmp_path / "calls", rubric) as other:
        called = judge_all(items(*TEXTS), judge_at(server), rubric, other)
    one, two = (latest_verdicts(each.path) for each in (file, other))
    assert {item: line.verdict for item, line in one.items()} == {item: line.verdict for item, line in two.items()}
    unique = len(set(TEXTS))
    assert (tally.judged, tally.from_cache, tally.unjudged) == (unique, 30 - unique, 0) == (
        called.judged, called.from_cache, called.unjudged,
    )  # fmt: skip
    assert log["batches"] == 3 and set(log["answered"].values()) == {1} and tally.cost == pytest.approx(unique * 0.003)
    assert [path.name for path in file.path.parent.iterdir()] == ["v.jsonl"]


def test_failed_and_lost_rows_are_errors_and_only_they_are_handed_in_again(
    server: JudgeServer, tmp_path: Path, rubric: Rubric
) -> None:
    texts = ["fine", "FAULT=500; a", "LOST b", "also fine"]
    with verdict_file(tmp_path, rubric) as file:
        first = batches(server, rubric, file, texts)
        errors = {item: line.error for item, line in latest_verdicts(file.path).items() if line.error}
        second = batches(server, rubric, file, texts)
    assert (first.judged, first.unjudged, second.judged, second.unjudged, second.from_cache) == (2, 2, 1, 1, 2)
    assert errors == {"i1": "HTTP 500: boom", "i2": "no answer: the batch is completed"}


class Killed(BaseException):
    """What a process that is killed does not see."""


def killing(function: Callable[..., Any], after: bool) -> Callable[..., Any]:
    def killed(*args: Any, **kwargs: Any) -> Any:
        if after:
            function(*args, **kwargs)
        raise Killed

    return killed


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (batch_api, "write_bytes"), (batch_api, "write_json"), (BatchClient, "upload"), (BatchClient, "create_batch"),
        (BatchClient, "batch"), (BatchClient, "lines"), (VerdictFile, "append"), (shutil, "rmtree"),
    ],
)  # fmt: skip
def test_a_kill_at_any_step_hands_nothing_in_twice(
    server: JudgeServer, tmp_path: Path, rubric: Rubric, owner: object, name: str, after: bool
) -> None:
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed), verdict_file(tmp_path, rubric) as file:
        patch.setattr(batch_api, "MOST_ROWS", 10)
        patch.setattr(owner, name, killing(getattr(owner, name), after))
        batches(server, rubric, file, TEXTS)
    with verdict_file(tmp_path, rubric) as file:
        tally = batches(server, rubric, file, TEXTS)
    assert tally.unjudged == 0 and set(server.log()["answered"].values()) == {1}
    assert Counter(line.item for line in read_verdicts(file.path)) == {f"i{number}": 1 for number in range(30)}
    assert server.log()["batches"] == 3


def test_the_cap_holds_batches_back(server: JudgeServer, tmp_path: Path, rubric: Rubric) -> None:
    with verdict_file(tmp_path, rubric) as file:
        tally = batches(server, rubric, file, TEXTS, cap=0.05)
        assert tally.stopped is not None and "raise --spend-at-most" in tally.stopped
        assert server.log()["batches"] == 0 and (tally.judged, tally.unjudged) == (0, 30)
        later = batches(server, rubric, file, TEXTS, cap=0.7)
    assert later.stopped is None and later.unjudged == 0 and len(file) == 30
    assert server.log()["batches"] == 3, "one after the other: two at a time could have passed the cap"


def test_a_stop_leaves_batches_at_the_provider_for_the_next_run(
    server: JudgeServer, tmp_path: Path, rubric: Rubric
) -> None:
    server.tell(polls=10**9)
    with verdict_file(tmp_path, rubric) as file:
        tally = judge_in_batches(items(*TEXTS), judge_at(server), rubric, file, poll_seconds=0.01, stop=lambda: True)
        assert tally.stopped is not None and tally.judged == 0 and tally.unjudged == 30
        assert server.log()["batches"] == 3
    assert len(list((tmp_path / "fear.verdicts" / "v.batches").iterdir())) == 8


def test_a_provider_that_cannot_be_reached_is_one_line(server: JudgeServer, tmp_path: Path, rubric: Rubric) -> None:
    judge = OpenAIJudge(Endpoint("judge/model", f"{server.base_url}/nowhere", EXPIRED))
    with verdict_file(tmp_path, rubric) as file, pytest.raises(JudgeUnavailable, match="same command") as gone:
        judge_in_batches(items("a"), judge, rubric, file)
    assert EXPIRED not in str(gone.value) and "\n" not in str(gone.value)
