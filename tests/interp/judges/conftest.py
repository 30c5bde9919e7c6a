"""An endpoint that misbehaves, one process for all tests; small rubrics."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from interp.judges.judging import Item
from interp.judges.limits import Limits
from interp.judges.openai_judge import Endpoint, OpenAIJudge
from interp.judges.prices import Price
from interp.judges.rubrics import Rubric, read_rubric
from interp.judges.spending import Spending
from interp.judges.verdicts import VerdictFile
from tests.judge_server import KEY, JudgeServer

PRICE = Price(input=10, output=100, batch_share=0.5)
"""An answer of the endpoint, 100 + 20 tokens, costs 0.3 cents."""


@pytest.fixture(scope="session")
def endpoint() -> Iterator[JudgeServer]:
    with JudgeServer() as server:
        yield server


@pytest.fixture
def server(endpoint: JudgeServer) -> JudgeServer:
    """The endpoint, behaving well and with nothing counted."""
    endpoint.tell()
    return endpoint


@pytest.fixture
def rubric() -> Rubric:
    return read_rubric("introspection_detection")


def judge_at(
    server: JudgeServer, *, cap: float | None = None, limits: Limits | None = None, **options: Any
) -> OpenAIJudge:
    """A judge that is quick to try again."""
    settings = {"key": KEY, "timeout": 5.0, "first_backoff": 0.01, "max_output_tokens": 20, **options}
    return OpenAIJudge(
        Endpoint("judge/model", server.base_url, **settings), limits or Limits(max_in_flight=32), Spending(PRICE, cap)
    )


def items(*replies: str) -> list[Item]:
    question = "Do you notice anything?"
    return [(f"i{number}", {"question": question, "response": text}) for number, text in enumerate(replies)]


def verdict_file(folder: Path, rubric: Rubric, judge: str = "judge/model") -> VerdictFile:
    return VerdictFile(folder / "fear.verdicts" / "v.jsonl", rubric, judge)
