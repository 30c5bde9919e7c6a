"""Prompts as token ids: the same every day, with earlier replies as the ids that were produced."""

import random
from datetime import datetime
from typing import Any

import pytest

from interp.chat import (
    PINNED_DATE,
    continuation_ids,
    prompt_ids,
    render,
    stop_token_ids,
    template_settings,
    token_texts,
)
from interp.errors import InputError
from interp.records import Message
from tests.tiny_models import END_OF_TEXT, END_OF_TURN, build_tokenizer

SYSTEM = Message(role="system", content="You are terse.")
ASK = Message(role="user", content="Who wrote Faust?")
REPLY = Message(role="assistant", content="Goethe – of course.")
AGAIN = Message(role="user", content="When?")

ALWAYS_TODAY = (
    "{{ bos_token }}{{ strftime_now('%Y-%m-%d') }}{% for message in messages %}{{ message['content'] }}{% endfor %}"
)
NO_SYSTEM = (
    "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "{{ messages[0]['content'] }}"
)
ALTERNATING = (
    "{% for message in messages %}"
    "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('roles must alternate') }}"
    "{% endif %}"
    "{{ loop.index }}[{{ message['content'] }}]"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ messages|length + 1 }}[{% endif %}"
)
ONLY_THE_LAST = "{{ messages[-1]['content'] }}"


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return build_tokenizer()


def on_another_day(monkeypatch: pytest.MonkeyPatch) -> None:
    class Later(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> "Later":
            return cls(2031, 1, 2, 3, 4, 5)

    monkeypatch.setattr("transformers.utils.chat_template_utils.datetime", Later)


@pytest.mark.parametrize("template", [None, ALWAYS_TODAY])
def test_a_prompt_is_the_same_every_day(monkeypatch: pytest.MonkeyPatch, template: str | None) -> None:
    tokenizer = build_tokenizer(template) if template else build_tokenizer()
    messages = [message.model_dump() for message in (SYSTEM, ASK)]
    today, ours = tokenizer.apply_chat_template(messages, tokenize=False), prompt_ids(tokenizer, [SYSTEM, ASK])
    on_another_day(monkeypatch)
    later = tokenizer.apply_chat_template(messages, tokenize=False)
    assert today != later and "2031" in later
    assert prompt_ids(tokenizer, [SYSTEM, ASK]) == ours
    assert str(PINNED_DATE.year) in tokenizer.decode(ours) and "2031" not in tokenizer.decode(ours)


def test_settings_name_the_date(tokenizer: Any) -> None:
    assert template_settings() == {"date": PINNED_DATE.isoformat(), "enable_thinking": False}
    assert PINNED_DATE.strftime("%d %b %Y") in render(tokenizer, [ASK])


def test_a_prompt_ends_where_the_assistant_begins(tokenizer: Any) -> None:
    header = "<|start_header_id|>assistant<|end_header_id|>\n\n"
    assert render(tokenizer, [SYSTEM, ASK]).endswith("Who wrote Faust?<|eot_id|>" + header)
    ids = prompt_ids(tokenizer, [SYSTEM, ASK])
    assert tokenizer.decode(ids) == render(tokenizer, [SYSTEM, ASK])
    assert ids.count(tokenizer.bos_token_id) == 1 and ids[0] == tokenizer.bos_token_id
    assert ids.count(END_OF_TURN) == 2


def test_ids_are_transformers_own(tokenizer: Any) -> None:
    expected = tokenizer.apply_chat_template(
        [message.model_dump() for message in (SYSTEM, ASK)],
        add_generation_prompt=True,
        date_string=PINNED_DATE.strftime("%d %b %Y"),
    )["input_ids"]
    assert prompt_ids(tokenizer, [SYSTEM, ASK]) == expected


@pytest.mark.parametrize("start", [[SYSTEM, ASK], [ASK]])
def test_the_next_turn_is_the_whole_conversation(tokenizer: Any, start: list[Message]) -> None:
    """When the reply's text gives the reply's ids again; a second turn and a third."""
    reply = tokenizer(REPLY.content)["input_ids"]
    second = [*start, REPLY, AGAIN]
    grown = prompt_ids(tokenizer, start) + reply + continuation_ids(tokenizer, second)
    assert grown == prompt_ids(tokenizer, second)
    third = [*second, REPLY, ASK]
    assert grown + reply + continuation_ids(tokenizer, third) == prompt_ids(tokenizer, third)


def test_the_next_turn_keeps_ids_that_no_text_gives(tokenizer: Any) -> None:
    """A reply that ends in spaces, which the template trims, and in half a character, which no text holds."""
    reply = [*tokenizer("Goethe.  ")["input_ids"], 0xE2]
    text = tokenizer.decode(reply)
    assert tokenizer(text)["input_ids"] != reply
    said = Message(role="assistant", content=text)
    grown = prompt_ids(tokenizer, [ASK]) + reply + continuation_ids(tokenizer, [ASK, said, AGAIN])
    assert grown[: -len(reply)] != prompt_ids(tokenizer, [ASK, said, AGAIN])
    start = len(prompt_ids(tokenizer, [ASK]))
    assert grown[start : start + len(reply)] == reply and grown[start + len(reply)] == END_OF_TURN
    assert continuation_ids(tokenizer, [ASK, said, AGAIN]) == continuation_ids(tokenizer, [ASK, REPLY, AGAIN])


def test_a_template_without_system_role_says_so() -> None:
    tokenizer = build_tokenizer(NO_SYSTEM)
    assert render(tokenizer, [ASK]) == ASK.content
    with pytest.raises(InputError, match="refuses this conversation: System role not supported"):
        prompt_ids(tokenizer, [SYSTEM, ASK])


def test_the_next_turn_suits_a_template_that_counts_turns() -> None:
    """As Gemma's and Mistral's, which refuse a conversation that the user did not begin."""
    tokenizer = build_tokenizer(ALTERNATING)
    reply = tokenizer(REPLY.content)["input_ids"]
    grown = prompt_ids(tokenizer, [ASK]) + reply + continuation_ids(tokenizer, [ASK, REPLY, AGAIN])
    assert grown == prompt_ids(tokenizer, [ASK, REPLY, AGAIN])
    with pytest.raises(InputError, match="roles must alternate"):
        continuation_ids(tokenizer, [ASK, AGAIN, REPLY, AGAIN])


def test_a_template_that_forgets_replies_says_so() -> None:
    with pytest.raises(InputError, match="drops earlier replies"):
        continuation_ids(build_tokenizer(ONLY_THE_LAST), [ASK, REPLY, AGAIN])


@pytest.mark.parametrize(
    ("configured", "own", "expected"),
    [
        ([END_OF_TEXT, END_OF_TURN], END_OF_TURN, (END_OF_TEXT, END_OF_TURN)),
        (7, END_OF_TURN, (7, END_OF_TURN)),
        ([9, 8, 9], None, (8, 9)),
        (None, END_OF_TURN, (END_OF_TURN,)),
        (None, None, ()),
    ],
)
def test_stop_tokens_are_the_models_and_the_tokenizers(configured: Any, own: int | None, expected: Any) -> None:
    class Configured:
        eos_token_id = configured

    class Own:
        eos_token_id = own

    assert stop_token_ids(Own(), Configured()) == expected


def test_token_texts_add_up_to_the_text(tokenizer: Any) -> None:
    """Also for bytes that are no text: half characters, lone continuation bytes."""
    assert token_texts(tokenizer, tokenizer("aé–").input_ids) == ["a", "", "é", "", "", "–"]
    assert token_texts(tokenizer, []) == []
    draw = random.Random(0)
    for _ in range(50):
        ids = [draw.randrange(256) for _ in range(draw.randrange(1, 20))]
        texts = token_texts(tokenizer, ids)
        assert len(texts) == len(ids) and "".join(texts) == tokenizer.decode(ids)
