"""The real client against a real server that misbehaves: nothing lost, nothing judged twice, no key anywhere."""

import logging
import subprocess
import sys
from pathlib import Path

import pytest

from interp.judges.answers import JudgeUnavailable
from interp.judges.judging import judge_all
from interp.judges.limits import Limits
from interp.judges.rubrics import Rubric
from interp.judges.verdicts import latest_verdicts, read_verdicts
from interp.paths import REPOSITORY
from tests.interp.judges.conftest import items, judge_at, verdict_file
from tests.judge_server import EXPIRED, KEY, JudgeServer

PASSING = (
    "429", "429after", "500", "502", "reset", "truncated", "cut", "prose", "schema", "empty", "length", "error200",
    "nochoices", "500,reset,schema",
)  # fmt: skip
LASTING = {"refusal": "refused", "filter": "content filter", "400": "too long", "flagged": "403", "500*": "HTTP 500"}
OPEN_ENDED = ("error200", "nochoices", "reset", "truncated", "hang", "drip")
"""Whether these were charged is not known."""


def test_faults_that_pass_cost_a_retry_and_no_verdict(server: JudgeServer, tmp_path: Path, rubric: Rubric) -> None:
    texts = [f"FAULT={fault}; {'YES' if number % 2 else ''}" for number, fault in enumerate(PASSING)]
    judge = judge_at(server)
    with verdict_file(tmp_path, rubric) as file:
        tally = judge_all(items(*texts), judge, rubric, file)
    log = server.log()
    assert (tally.judged, tally.unjudged) == (len(texts), 0)
    assert set(log["answered"].values()) == {1} and len(log["answered"]) == len(texts)
    assert tally.calls == log["requests"] == len(texts) * 2 + 2
    for number, line in enumerate(read_verdicts(file.path)):
        assert line.verdict is not None, number
        assert line.verdict["claims_detection"] is (int(line.item[1:]) % 2 == 1)
    charged = len(texts) + sum(fault in ("cut", "prose", "schema", "empty", "length") for fault in PASSING) + 1
    assert tally.input_tokens == charged * 100 and tally.cost == pytest.approx(charged * 0.003)


def test_a_hang_and_a_slow_drip_end_at_the_timeout(server: JudgeServer, tmp_path: Path, rubric: Rubric) -> None:
    judge = judge_at(server, timeout=0.5)
    with verdict_file(tmp_path, rubric) as file:
        tally = judge_all(items("FAULT=hang;", "FAULT=drip;", "FAULT=hang*;"), judge, rubric, file)
    assert (tally.judged, tally.unjudged, tally.calls) == (2, 1, 2 + 2 + 4)
    assert latest_verdicts(file.path)["i2"].error == "no reply within 0.5 s (4 requests)"


def test_faults_that_last_are_errors_and_only_they_are_asked_again(
    server: JudgeServer, tmp_path: Path, rubric: Rubric
) -> None:
    texts = ["fine", *(f"FAULT={fault};" for fault in LASTING)]
    with verdict_file(tmp_path, rubric) as file:
        first = judge_all(items(*texts), judge_at(server), rubric, file)
        errors = {item: line.error for item, line in latest_verdicts(file.path).items() if line.verdict is None}
        assert (first.judged, first.unjudged, first.calls) == (1, 5, 1 + 4 + 4)
        assert all(words in (errors[f"i{number}"] or "") for number, words in enumerate(LASTING.values(), 1))
        second = judge_all(items(*texts), judge_at(server), rubric, file)
    assert (second.judged, second.from_cache, second.unjudged) == (4, 1, 1), "but for 500* the fault is over"


def test_a_text_that_cannot_be_sent_is_an_error_of_its_own(
    server: JudgeServer, tmp_path: Path, rubric: Rubric
) -> None:
    with verdict_file(tmp_path, rubric) as file:
        tally = judge_all(items("half: \ud83d", "whole"), judge_at(server), rubric, file)
    assert (tally.judged, tally.unjudged, tally.calls) == (1, 1, 1)


@pytest.mark.parametrize(("fault", "words"), [("quota", "current quota"), ("402", "no credit")])
def test_an_account_without_credit_ends_the_run_in_one_line(
    server: JudgeServer, tmp_path: Path, rubric: Rubric, fault: str, words: str
) -> None:
    texts = [f"text {number}" + (f" FAULT={fault}*;" if number >= 20 else "") for number in range(200)]
    with verdict_file(tmp_path, rubric) as file:
        with pytest.raises(JudgeUnavailable, match=words) as ended:
            judge_all(items(*texts), judge_at(server, limits=Limits(max_in_flight=4)), rubric, file)
        assert "\n" not in str(ended.value) and len(file) == 20 == len(server.log()["answered"])
    assert server.log()["requests"] <= 30


PROGRAM = """
import logging, sys
from pathlib import Path
from interp.judges.judging import judge_all
from interp.judges.openai_judge import Endpoint, OpenAIJudge
from interp.judges.rubrics import read_rubric
from tests.interp.judges.conftest import items, verdict_file
logging.basicConfig(level=logging.DEBUG)
endpoint = Endpoint("judge/model", sys.argv[1], sys.argv[3], timeout=5, first_backoff=0.01)
judge, rubric = OpenAIJudge(endpoint), read_rubric("introspection_detection")
print(judge.endpoint)
with verdict_file(Path(sys.argv[2]), rubric) as file:
    judge_all(items("one", "FAULT=500*;", "FAULT=reset*;"), judge, rubric, file)
"""


@pytest.mark.parametrize("key", [KEY, EXPIRED, "a-key-of-another-shape"])
def test_the_key_is_in_no_log_error_or_file(server: JudgeServer, tmp_path: Path, key: str) -> None:
    command = [sys.executable, "-c", PROGRAM, server.base_url, str(tmp_path), key]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    written = "".join(path.read_text() for path in tmp_path.rglob("*") if path.is_file())
    assert key not in done.stdout + done.stderr + written
    assert (done.returncode == 0) == (key == KEY)
    assert key == KEY or "Incorrect API key provided: [key]" in done.stderr


def test_calls_in_flight_fall_to_what_the_endpoint_bears_and_recover(
    server: JudgeServer, tmp_path: Path, rubric: Rubric
) -> None:
    judge = judge_at(server, limits=Limits(max_in_flight=64))
    server.tell(latency=0.005, capacity=4)
    with verdict_file(tmp_path, rubric) as file:
        tally = judge_all(items(*map(str, range(300))), judge, rubric, file)
        log = server.log()
        assert (tally.judged, tally.unjudged) == (300, 0) and set(log["answered"].values()) == {1}
        assert 0 < log["statuses"]["429"] < 150 and judge.throttle.allowed < 12
        server.tell(latency=0.1)
        judge_all(items(*(f"more {number}" for number in range(300))), judge, rubric, file)
    assert judge.throttle.allowed > 20 and server.log()["most_in_flight"] > 12


def test_a_long_pause_holds_all_requests_and_is_bounded(server: JudgeServer, tmp_path: Path, rubric: Rubric) -> None:
    judge = judge_at(server, limits=Limits(max_in_flight=2, longest_pause=0.3))
    with verdict_file(tmp_path, rubric) as file:
        tally = judge_all(items("FAULT=429long;", *map(str, range(20))), judge, rubric, file)
    assert (tally.judged, tally.calls) == (21, 22)


@pytest.mark.parametrize("cap", [0.01, 0.05, 0.2])
def test_the_cap_is_never_passed_and_nearly_used_up(
    server: JudgeServer, tmp_path: Path, rubric: Rubric, cap: float
) -> None:
    judge = judge_at(server, cap=cap)
    texts = [f"{'FAULT=schema;' if number % 5 == 0 else ''}{number}" for number in range(150)]
    with verdict_file(tmp_path, rubric) as file:
        tally = judge_all(items(*texts), judge, rubric, file)
    charged = sum(server.log()["answered"].values()) + sum("FAULT" in text for text in server.log()["answered"])
    assert tally.stopped is not None and "raise --spend-at-most" in tally.stopped
    assert tally.judged + tally.unjudged == 150 and tally.cost is not None
    assert tally.cost <= cap and charged * 0.003 <= cap + 1e-9
    most = judge.spending.price.cost(6000, 20) if judge.spending.price else 0.0
    assert tally.cost > cap - most - 0.003


def test_calls_that_may_have_been_charged_count_against_the_cap(
    server: JudgeServer, tmp_path: Path, rubric: Rubric
) -> None:
    judge = judge_at(server, cap=0.3, limits=Limits(max_in_flight=1))
    with verdict_file(tmp_path, rubric) as file:
        tally = judge_all(items(*(f"FAULT=reset*; {number}" for number in range(50))), judge, rubric, file)
    assert tally.cost == 0.0 and tally.stopped is not None and "not known" in tally.stopped
    assert 0.2 < judge.spending.doubtful <= 0.3 and server.log()["requests"] < 10


def test_settings_that_an_endpoint_refuses_are_left_out_for_good(
    server: JudgeServer, tmp_path: Path, rubric: Rubric, caplog: pytest.LogCaptureFixture
) -> None:
    server.tell(without=["temperature", "max_completion_tokens", "json_schema", "json_object"])
    judge = judge_at(server, limits=Limits(max_in_flight=8))
    with caplog.at_level(logging.WARNING), verdict_file(tmp_path, rubric) as file:
        tally = judge_all(items(*(f"YES {number}" for number in range(40))), judge, rubric, file)
    log = server.log()
    assert tally.judged == 40 and tally.calls == log["requests"] <= 40 + 4 * 8
    assert log["bodies"][-1] == {"model": "judge/model", "max_tokens": 20}
    assert len([each for each in caplog.records if "asking otherwise" in each.message]) == 4
    assert all((line.verdict or {})["claims_detection"] is True for line in read_verdicts(file.path))


def test_the_first_request_asks_for_the_schema(server: JudgeServer, tmp_path: Path, rubric: Rubric) -> None:
    with verdict_file(tmp_path, rubric) as file:
        judge_all(items("one"), judge_at(server), rubric, file)
    (body,) = server.log()["bodies"]
    assert body["response_format"]["json_schema"]["schema"] == rubric.response_schema()
    assert body["response_format"]["json_schema"]["strict"] is True and body["temperature"] == 0
