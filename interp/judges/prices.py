"""What judging costs: prices by model, tokens by estimate before they are known."""

from collections.abc import Sequence
from pathlib import Path

from pydantic import model_validator

from interp.errors import InputError
from interp.judges.rubrics import RUBRICS, Rubric
from interp.records import Message, Record, read_record

BYTES_PER_TOKEN = 4.0
"""Of UTF-8 text, for estimates: what English has with the tokenizers of large models; other scripts have less."""
TOKENS_PER_MESSAGE = 8
TOKENS_PER_FIELD = 30
"""Of an answer, for estimates: a name, its punctuation, and a short value; free text takes `TOKENS_PER_TEXT`."""
TOKENS_PER_TEXT = 60


class Price(Record):
    """USD for a million tokens; through the provider's Batch API `batch_share` of it."""

    input: float
    output: float
    batch_share: float = 1.0

    @model_validator(mode="after")
    def _is_a_price(self) -> "Price":
        if self.input < 0 or self.output < 0 or not 0 < self.batch_share <= 1:
            raise ValueError("prices are 0 or more, and 0 < batch_share <= 1")
        return self

    def cost(self, input_tokens: float, output_tokens: float) -> float:
        """USD."""
        return (input_tokens * self.input + output_tokens * self.output) / 1e6

    @property
    def in_batches(self) -> "Price":
        """The price through the Batch API."""
        share = self.batch_share
        return Price(input=self.input * share, output=self.output * share)


class PriceTable(Record):
    """A file of prices by model name, exactly as it is sent. `source` says where they are from and as of when."""

    source: str
    prices: dict[str, Price]


def read_price(model: str, path: Path | None = None) -> Price | None:
    """The price of a model in a price file (default: datasets/rubrics/prices.json); None where it is not listed.

    Raises:
        InputError: the file is missing or malformed.
    """
    return read_record(PriceTable, path or RUBRICS / "prices.json").prices.get(model)


def estimated_tokens(messages: Sequence[Message]) -> float:
    """Tokens of messages by rule: a token for four bytes of UTF-8, and eight a message."""
    return _text_bytes(messages) / BYTES_PER_TOKEN + TOKENS_PER_MESSAGE * len(messages)


def estimated_answer_tokens(rubric: Rubric) -> float:
    """Tokens of a verdict by rule: 30 a field, 60 a field of text. A judge that reasons silently uses many more."""
    return float(sum(TOKENS_PER_TEXT if field.type == "text" else TOKENS_PER_FIELD for field in rubric.fields))


def most_tokens(messages: Sequence[Message], schema_bytes: int) -> float:
    """More tokens than messages and schema can have: one for each byte, and 256 for what is put around them."""
    return _text_bytes(messages) + schema_bytes + 256.0


def _text_bytes(messages: Sequence[Message]) -> int:
    return sum(len(message.content.encode("utf-8", "surrogatepass")) for message in messages)


def require_price(model: str, price: Price | None) -> Price:
    """
    Raises:
        InputError: it is unknown, so that no cap can be kept.
    """
    if price is None:
        raise InputError(f"no price of {model!r} is known, so no spending cap can be kept: give one by --prices FILE")
    return price
