"""A process that judges a list of items, to be killed at any moment.

    python -m tests.interp.judges.judging_process BASE_URL FOLDER COUNT
"""

import sys
from pathlib import Path

from interp.judges.judging import judge_all
from interp.judges.limits import Limits
from interp.judges.openai_judge import Endpoint, OpenAIJudge
from interp.judges.rubrics import read_rubric
from tests.interp.judges.conftest import items, verdict_file
from tests.judge_server import KEY


def replies(count: int) -> list[str]:
    """Some fail a few times, some twice over say the same."""
    fault = "FAULT=500,429after;"
    return [f"{fault if number % 10 == 0 else ''} text {number % (count - 5)}" for number in range(count)]


def main() -> None:
    base_url, folder, count = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    rubric = read_rubric("introspection_detection")
    judge = OpenAIJudge(Endpoint("judge/model", base_url, KEY, first_backoff=0.01), Limits(max_in_flight=16))
    with verdict_file(folder, rubric) as file:
        judge_all(iter(items(*replies(count))), judge, rubric, file)


if __name__ == "__main__":
    main()
