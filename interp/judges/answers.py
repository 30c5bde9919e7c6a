"""What a judge is to the rest of the program: messages in, a verdict or an error out."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from interp.errors import ServiceUnavailable
from interp.judges.rubrics import Rubric, Verdict
from interp.records import Message


class JudgeUnavailable(ServiceUnavailable):
    """A judge that will answer nothing more: a key that does not hold, an account without credit, no such model."""


class CapReached(ServiceUnavailable):
    """The next call could pass the spending cap."""


@dataclass(frozen=True)
class Answered:
    """What came of asking a judge about one text: a verdict, or an error in words (then it is unjudged, not failed).

    Tokens and cost (USD, None where the price is unknown) cover all of its `requests`, those that failed too.
    """

    verdict: Verdict | None
    error: str | None = None
    input_tokens: int = 0
    output_tokens: int = 0
    requests: int = 1
    cost: float | None = 0.0


class Judge(Protocol):
    """Something that answers rubrics.

    `name` says which judge it is in file names and keys; `in_flight` how many texts it takes at one time.
    """

    @property
    def name(self) -> str: ...

    @property
    def in_flight(self) -> int: ...

    async def judge(self, messages: Sequence[Message], rubric: Rubric) -> Answered:
        """The answer to a rubric's messages.

        Raises:
            JudgeUnavailable: asking on is pointless.
            CapReached: asking would risk passing the spending cap; nothing was sent.
        """
        ...

    async def close(self) -> None:
        """Give connections back; the judge opens new ones when it is asked again, in any event loop."""
        ...
