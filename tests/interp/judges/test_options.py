"""From options to a judge, and what is refused before anything is asked."""

import json
from pathlib import Path

import pytest

from interp.errors import InputError
from interp.judges.judging import judge_all
from interp.judges.openai_judge import OpenAIJudge
from interp.judges.options import judge_items, judge_options, make_judge, price_of
from interp.judges.prices import read_price
from interp.judges.rubrics import Rubric
from interp.judges.scripted import ScriptedJudge
from tests.interp.judges.conftest import items, verdict_file
from tests.judge_server import KEY, JudgeServer

KEYS = {"OPENAI_API_KEY": "sk-openai-key", "OPENROUTER_API_KEY": "sk-openrouter-key"}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    for name, key in KEYS.items():
        monkeypatch.setenv(name, key)
    return monkeypatch


def made(*argv: str) -> OpenAIJudge:
    judge = make_judge(judge_options().parse_args([*argv]))
    assert isinstance(judge, OpenAIJudge)
    return judge


def test_the_key_goes_with_the_endpoint(environment: pytest.MonkeyPatch) -> None:
    assert made("--judge", "m").endpoint.key == KEYS["OPENAI_API_KEY"]
    assert made("--judge", "m").endpoint.base_url == "https://api.openai.com/v1"
    router = "https://openrouter.ai/api/v1"
    assert made("--judge", "m", "--base-url", router).endpoint.key == KEYS["OPENROUTER_API_KEY"]
    environment.setenv("OPENAI_BASE_URL", router)
    assert made("--judge", "m").endpoint.key == KEYS["OPENROUTER_API_KEY"]
    environment.delenv("OPENROUTER_API_KEY")
    with pytest.raises(InputError, match="OPENROUTER_API_KEY"):
        made("--judge", "m")
    environment.delenv("OPENAI_API_KEY")
    assert made("--judge", "m", "--base-url", "http://localhost:8000/v1").endpoint.key == ""
    with pytest.raises(InputError, match="OPENAI_API_KEY"):
        made("--judge", "m", "--base-url", "https://api.openai.com/v1")
    with pytest.raises(InputError, match="no address"):
        made("--judge", "m", "--base-url", "localhost:8000")


def test_a_cap_needs_a_price(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no price of 'unheard-of'"):
        made("--judge", "unheard-of", "--spend-at-most", "5")
    prices = tmp_path / "prices.json"
    prices.write_text(json.dumps({"source": "test", "prices": {"unheard-of": {"input": 1, "output": 2}}}))
    judge = made("--judge", "unheard-of", "--spend-at-most", "5", "--prices", str(prices))
    assert judge.spending.cap == 5 and judge.spending.price is not None and judge.spending.price.output == 2
    assert made("--judge", "unheard-of").spending.price is None


def test_batches_cost_their_share() -> None:
    price = read_price("gpt-5-mini")
    args = judge_options().parse_args(["--judge", "gpt-5-mini", "--batch-api"])
    half = price_of(args)
    assert price is not None and half is not None and half.cost(1e6, 1e6) == price.cost(1e6, 1e6) / 2


def test_limits_come_from_the_options() -> None:
    argv = ["--judge", "m", "--max-in-flight", "7", "--requests-per-minute", "60", "--tokens-per-minute", "9000"]
    judge = made(*argv, "--timeout", "9", "--longest-pause", "5")
    limits = judge.throttle.limits
    assert (judge.in_flight, limits.requests_per_minute, limits.tokens_per_minute) == (7, 60, 9000)
    assert (judge.endpoint.timeout, limits.longest_pause) == (9.0, 5.0)


def test_a_script_is_a_judge_too(tmp_path: Path, rubric: Rubric) -> None:
    path = tmp_path / "script.json"
    path.write_text(json.dumps({"name": "s", "rules": []}))
    args = judge_options().parse_args(["--judge", f"scripted:{path}", "--spend-at-most", "1"])
    judge = make_judge(args)
    assert isinstance(judge, ScriptedJudge)
    with verdict_file(tmp_path, rubric, judge.name) as file:
        assert judge_items(items("a", "b"), args, judge, rubric, file).judged == 2
    with pytest.raises(InputError, match="--batch-api"):
        make_judge(judge_options().parse_args(["--judge", f"scripted:{path}", "--batch-api"]))
    with pytest.raises(InputError, match="no judge"):
        make_judge(judge_options().parse_args([]))


def test_a_judge_of_the_options_judges(
    server: JudgeServer, tmp_path: Path, rubric: Rubric, environment: pytest.MonkeyPatch
) -> None:
    environment.setenv("OPENAI_API_KEY", KEY)
    judge = made("--judge", "judge/model", "--base-url", server.base_url)
    with verdict_file(tmp_path, rubric) as file:
        tally = judge_all(items("a", "b"), judge, rubric, file)
        again = judge_all(items("c"), judge, rubric, file)
    assert (tally.judged, again.judged, tally.cost) == (2, 1, None)
