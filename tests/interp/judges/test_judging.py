"""Every item once, whatever the list, the judge and the interruptions are."""

import asyncio
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from interp.errors import InputError
from interp.judges.answers import Answered, JudgeUnavailable
from interp.judges.judging import Item, Tally, judge_all, plan_judging
from interp.judges.online import OnlineJudging, _Spool
from interp.judges.rubrics import Rubric
from interp.judges.scripted import ScriptedJudge
from interp.judges.verdicts import latest_verdicts, read_verdicts
from interp.paths import REPOSITORY
from interp.records import Message
from tests.interp.judges.conftest import PRICE, items, verdict_file
from tests.interp.judges.judging_process import replies
from tests.judge_server import JudgeServer


class CountingJudge(ScriptedJudge):
    """A script that counts what it is asked, and does not answer at once; `fails` says which calls end in an error."""

    def __init__(self, fails: Sequence[int] = (), breaks_at: int | None = None, seconds: float = 0.0) -> None:
        super().__init__(lambda text: {"claims_detection": "YES" in text}, name="judge/model")
        self.fails, self.breaks_at, self.seconds = fails, breaks_at, seconds
        self.asked: Counter[str] = Counter()
        self.calls = 0

    async def judge(self, messages: Sequence[Message], rubric: Rubric) -> Answered:
        number, self.calls = self.calls, self.calls + 1
        self.asked[messages[1].content] += 1
        await asyncio.sleep(self.seconds)
        if number == self.breaks_at:
            raise JudgeUnavailable("no more")
        if number in self.fails:
            return Answered(None, "HTTP 500", requests=4)
        return await super().judge(messages, rubric)


def test_every_text_is_asked_once_and_every_item_has_its_line(tmp_path: Path, rubric: Rubric) -> None:
    judge, texts = CountingJudge(), [f"text {number % 40} {'YES' if number % 3 == 0 else ''}" for number in range(200)]
    with verdict_file(tmp_path, rubric) as file:
        tally = judge_all(iter(items(*texts)), judge, rubric, file)
    assert set(judge.asked.values()) == {1} and len(judge.asked) == len(set(texts))
    assert (tally.judged, tally.from_cache, tally.unjudged) == (len(set(texts)), 200 - len(set(texts)), 0)
    lines = list(read_verdicts(file.path))
    assert Counter(line.item for line in lines) == {f"i{number}": 1 for number in range(200)}
    assert {line.item: (line.verdict or {})["claims_detection"] for line in lines} == {
        f"i{number}": "YES" in text for number, text in enumerate(texts)
    }


def test_the_next_pass_asks_for_just_what_ended_in_an_error(tmp_path: Path, rubric: Rubric) -> None:
    texts = [f"text {number}" for number in range(50)]
    with verdict_file(tmp_path, rubric) as file:
        first = judge_all(items(*texts), CountingJudge(fails=(3, 7, 11)), rubric, file)
        again = CountingJudge()
        second = judge_all(items(*texts), again, rubric, file)
    assert (first.judged, first.unjudged) == (47, 3) and first.calls == 12
    assert (second.judged, second.from_cache, second.unjudged) == (3, 47, 0) and again.calls == 3
    assert all(line.verdict for line in latest_verdicts(file.path).values())


def test_an_item_whose_text_has_changed_is_judged_anew(tmp_path: Path, rubric: Rubric) -> None:
    with verdict_file(tmp_path, rubric) as file:
        judge_all(items("no"), CountingJudge(), rubric, file)
        judge_all(items("YES"), CountingJudge(), rubric, file)
    line = latest_verdicts(file.path)["i0"]
    assert line.verdict is not None and line.verdict["claims_detection"] is True


def test_when_the_judge_is_gone_what_was_answered_is_kept(tmp_path: Path, rubric: Rubric) -> None:
    seen: list[Tally] = []
    with verdict_file(tmp_path, rubric) as file:
        with pytest.raises(JudgeUnavailable):
            judge = CountingJudge(breaks_at=20, seconds=0.001)
            judge_all(items(*map(str, range(500))), judge, rubric, file, on_progress=seen.append)
        assert 20 <= len(file) < 40 and seen[-1].judged == len(file) == judge.calls - 1


def test_a_list_is_read_only_as_far_as_it_is_judged(tmp_path: Path, rubric: Rubric) -> None:
    read, ahead = 0, []
    judge = CountingJudge()

    def reading() -> Iterator[Item]:
        nonlocal read
        for item in items(*map(str, range(300))):
            read += 1
            ahead.append(read - judge.calls)
            yield item

    with verdict_file(tmp_path, rubric) as file:
        judge_all(reading(), judge, rubric, file)
    assert max(ahead) <= judge.in_flight and read == 300


def test_a_stop_ends_soon_and_the_next_run_goes_on(tmp_path: Path, rubric: Rubric) -> None:
    judge = CountingJudge(seconds=0.001)
    with verdict_file(tmp_path, rubric) as file:
        tally = judge_all(items(*map(str, range(300))), judge, rubric, file, stop=lambda: judge.calls >= 30)
        assert tally.stopped and tally.judged == len(file) <= 40
        again = judge_all(items(*map(str, range(300))), judge, rubric, file)
    assert again.judged == 300 - tally.judged and set(judge.asked.values()) == {1}


def test_a_missing_text_is_an_error(tmp_path: Path, rubric: Rubric) -> None:
    with verdict_file(tmp_path, rubric) as file, pytest.raises(InputError, match="missing: response"):
        judge_all([("i0", {"question": "?"})], CountingJudge(), rubric, file)


def test_a_plan_says_what_judging_then_does(tmp_path: Path, rubric: Rubric) -> None:
    texts = [f"text {number % 40} {'é' * 100}" for number in range(100)]
    with verdict_file(tmp_path, rubric) as file:
        judge_all(items(*texts[:10]), CountingJudge(), rubric, file)
        plan = plan_judging(items(*texts), rubric, file, PRICE)
        tally = judge_all(items(*texts), CountingJudge(), rubric, file)
    assert (plan.items, plan.calls, plan.from_cache) == (100, 30, 70) == (100, tally.judged, tally.from_cache)
    size = len(rubric.messages(items(texts[0])[0][1])[0].content.encode()) / 4
    assert 30 * size < plan.input_tokens < 30 * (size + 400)
    assert plan.cost == pytest.approx((10 * plan.input_tokens + 100 * plan.output_tokens) / 1e6, rel=1e-4)
    assert plan_judging(items("new"), rubric, file, None).cost is None


@pytest.mark.slow
def test_kill_minus_nine_at_any_moment_then_the_same_set(server: JudgeServer, tmp_path: Path, rubric: Rubric) -> None:
    count, draw = 400, random.Random(0)
    server.tell(latency=0.02)
    command = [sys.executable, "-m", "tests.interp.judges.judging_process", server.base_url, str(tmp_path), str(count)]
    path, kills = tmp_path / "fear.verdicts" / "v.jsonl", 0
    while kills < 3:
        process = subprocess.Popen(command, cwd=REPOSITORY)
        before = path.stat().st_size if path.exists() else 0
        while process.poll() is None and (path.stat().st_size if path.exists() else 0) == before:
            time.sleep(0.005)
        time.sleep(draw.uniform(0, 0.06))
        process.kill()
        process.wait()
        kills += 1
    done = len(latest_verdicts(path))
    assert 0 < done < count
    subprocess.run(command, cwd=REPOSITORY, check=True)
    lines = list(read_verdicts(path))
    assert Counter(line.item for line in lines) == {f"i{number}": 1 for number in range(count)}
    assert all(line.verdict for line in lines) and sum(not line.copied for line in lines) == len(set(replies(count)))
    repeated = sum(number - 1 for number in server.log()["answered"].values())
    assert repeated <= kills * 16, "more was asked again than was in flight when it was killed"


# --- While a GPU works ------------------------------------------------------------------------------------------------


def test_online_judging_takes_everything_and_holds_nobody_up(tmp_path: Path, rubric: Rubric) -> None:
    judge, longest = CountingJudge(seconds=0.02), 0.0
    with verdict_file(tmp_path, rubric) as file:
        with OnlineJudging(judge, rubric, file) as online:
            for item, values in items(*(f"text {number % 90}" for number in range(400))):
                start = time.perf_counter()
                online.submit(item, values)
                longest = max(longest, time.perf_counter() - start)
            waiting = 400 - len(file)
        assert len(file) == 400 and waiting > 300, "the producer waited for the judge"
    assert set(judge.asked.values()) == {1} and online.tally.judged == 90 and online.tally.from_cache == 310
    assert [path.name for path in file.path.parent.iterdir()] == ["v.jsonl"]


def test_an_error_of_the_producer_leaves_the_rest_for_later(tmp_path: Path, rubric: Rubric) -> None:
    todo = items(*map(str, range(300)))
    with verdict_file(tmp_path, rubric) as file:
        with pytest.raises(ZeroDivisionError), OnlineJudging(CountingJudge(seconds=0.05), rubric, file) as online:
            for item, values in todo:
                online.submit(item, values)
            raise ZeroDivisionError
        assert len(file) < 300 and online.tally.stopped
        later = judge_all(todo, CountingJudge(), rubric, file)
        assert later.judged + later.from_cache == 300 == len(file)


def test_a_stop_ends_the_draining(tmp_path: Path, rubric: Rubric) -> None:
    judge = CountingJudge(seconds=0.01)
    with verdict_file(tmp_path, rubric) as file:
        with OnlineJudging(judge, rubric, file, stop=lambda: judge.calls >= 40) as online:
            for item, values in items(*map(str, range(300))):
                online.submit(item, values)
        assert online.tally.stopped and 40 <= len(file) <= 48


def test_a_judge_that_is_gone_does_not_stop_the_producer(
    tmp_path: Path, rubric: Rubric, caplog: pytest.LogCaptureFixture
) -> None:
    with verdict_file(tmp_path, rubric) as file:
        online = OnlineJudging(CountingJudge(breaks_at=5), rubric, file)
        for item, values in items(*map(str, range(100))):
            online.submit(item, values)
            time.sleep(0.0005)
        with pytest.raises(JudgeUnavailable):
            online.close()
        assert 0 < len(file) < 100 and "online judging has ended" in caplog.text


def test_an_item_that_is_half_written_is_waited_for(tmp_path: Path) -> None:
    spool = _Spool(tmp_path / "v.jsonl")

    async def take_while_it_is_written() -> Item | None:
        taking = asyncio.create_task(spool.take())
        for part in (b'["i0", {"resp', b'onse": ', b'"text"}]\n'):
            spool._writer.write(part)
            spool._writer.flush()
            await asyncio.wait([taking], timeout=0.1)
        return await taking

    assert asyncio.run(take_while_it_is_written()) == ("i0", {"response": "text"})
    spool.end()
    spool.close()


def test_online_refuses_an_item_that_the_rubric_cannot_take(tmp_path: Path, rubric: Rubric) -> None:
    with (
        verdict_file(tmp_path, rubric) as file,
        OnlineJudging(CountingJudge(), rubric, file) as online,
        pytest.raises(InputError, match="missing"),
    ):
        online.submit("i0", {"question": "?"})
