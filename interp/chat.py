"""From messages to token ids, with the boundary between prompt and response.

Decoded text is never tokenised again: the ids that a model produced are the ids that every reader is given.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from typing import Any

from interp.errors import InputError
from interp.records import Message

PINNED_DATE = date(2024, 7, 26)
"""What a chat template that prints today's date is told, so that a prompt is the same tokens every day."""

_STAND_IN = "\u241fREPLY\u241f"


def template_settings() -> dict[str, Any]:
    """What templates are told beside the messages; part of the manifest."""
    return {"date": PINNED_DATE.isoformat(), "enable_thinking": False}


def render(tokenizer: Any, messages: Sequence[Message]) -> str:
    """The prompt as text, up to where the assistant begins to write.

    Raises:
        InputError: the template refuses the messages (some know no system role).
    """
    from jinja2 import TemplateError

    try:
        with _pinned_clock():
            text = tokenizer.apply_chat_template(
                [message.model_dump() for message in messages],
                tokenize=False,
                add_generation_prompt=True,
                date_string=PINNED_DATE.strftime("%d %b %Y"),
                enable_thinking=False,
            )
    except (TemplateError, ValueError) as error:
        raise InputError(f"the chat template of {tokenizer.name_or_path} refuses this conversation: {error}") from None
    return str(text)


class _PinnedDatetime(datetime):
    @classmethod
    def now(cls, tz: Any = None) -> "_PinnedDatetime":
        return cls(PINNED_DATE.year, PINNED_DATE.month, PINNED_DATE.day, tzinfo=tz)


@contextmanager
def _pinned_clock() -> Iterator[None]:
    """Templates' `strftime_now` tells the pinned date meanwhile. (transformers lets no function through to templates,
    so that it cannot be given to them as an argument.)
    """
    from transformers.utils import chat_template_utils

    before = chat_template_utils.datetime
    chat_template_utils.datetime = _PinnedDatetime
    try:
        yield
    finally:
        chat_template_utils.datetime = before


def prompt_ids(tokenizer: Any, messages: Sequence[Message]) -> list[int]:
    """The prompt as token ids, special tokens exactly as the template writes them."""
    return _encode(tokenizer, render(tokenizer, messages))


def continuation_ids(tokenizer: Any, messages: Sequence[Message]) -> list[int]:
    """The ids between an assistant's reply and its next one, for a conversation whose last message is the user's.

    `prompt_ids + response_ids + continuation_ids` is the next turn's prompt, with the reply's own ids in it.
    """
    before = [*messages[:-2], Message(role="assistant", content=_STAND_IN), messages[-1]]
    _, found, after = render(tokenizer, before).rpartition(_STAND_IN)
    if not found:
        raise InputError(f"the chat template of {tokenizer.name_or_path} drops earlier replies: no several turns")
    return _encode(tokenizer, after)


def token_texts(tokenizer: Any, ids: Sequence[int]) -> list[str]:
    """What each token adds to the decoded text; a character split over several tokens stands with the last of them."""
    texts: list[str] = []
    start = shown = 0
    for end in range(1, len(ids) + 1):
        before = tokenizer.decode(ids[start:shown], skip_special_tokens=False)
        now = tokenizer.decode(ids[start:end], skip_special_tokens=False)
        if now.endswith("\ufffd") and end < len(ids):
            texts.append("")
            continue
        texts.append(now[len(before) :])
        start, shown = shown, end
    return texts


def stop_token_ids(tokenizer: Any, generation_config: Any) -> tuple[int, ...]:
    """Every token that ends a reply: the generation config's (often several) and the tokenizer's own."""
    ids = generation_config.eos_token_id
    listed = [] if ids is None else [ids] if isinstance(ids, int) else list(ids)
    own = [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]
    return tuple(sorted({*listed, *own}))


def _encode(tokenizer: Any, text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])
