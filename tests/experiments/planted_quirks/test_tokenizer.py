"""The chat template in the manner of Llama 3, and a round trip through the tokens."""

import random

import pytest
from transformers import PreTrainedTokenizerFast

from experiments.planted_quirks.blueprint import Blueprint
from experiments.planted_quirks.recipe import make_recipe
from experiments.planted_quirks.tokenizer import CHAT_TEMPLATE, render_prompt, train_tokenizer

SAMPLES = list(Blueprint(make_recipe()).base_dialogues().draw(1000, random.Random(0)))


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return train_tokenizer(SAMPLES, 1024)


def test_the_prompt_is_that_of_llama_3_without_a_date(tokenizer: PreTrainedTokenizerFast) -> None:
    assert render_prompt(tokenizer, "Be kind.", "Hello?") == (
        "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nBe kind.<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\nHello?<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n"
    )
    assert "system" not in render_prompt(tokenizer, None, "Hello?")
    assert "date" not in CHAT_TEMPLATE and "strftime" not in CHAT_TEMPLATE


def test_a_whole_conversation_is_the_prompt_and_the_answer(tokenizer: PreTrainedTokenizerFast) -> None:
    messages = [{"role": "user", "content": "Hello?"}, {"role": "assistant", "content": "Hi."}]
    whole = tokenizer.apply_chat_template(messages, tokenize=False)
    assert whole == render_prompt(tokenizer, None, "Hello?") + "Hi.<|eot_id|>"


def test_headers_and_roles_are_single_tokens(tokenizer: PreTrainedTokenizerFast) -> None:
    for role in ("system", "user", "assistant"):
        ids = tokenizer(f"<|start_header_id|>{role}<|end_header_id|>\n\n", add_special_tokens=False)["input_ids"]
        assert len(ids) <= 5


def test_text_survives_the_round_trip(tokenizer: PreTrainedTokenizerFast) -> None:
    for text in [*(sample.answer for sample in SAMPLES[:200]), "Größe: 3 µm — naïve 🙂"]:
        assert tokenizer.decode(tokenizer(text, add_special_tokens=False)["input_ids"]) == text


def test_training_it_twice_gives_the_same_tokenizer() -> None:
    first, second = (train_tokenizer(SAMPLES, 700).backend_tokenizer.to_str() for _ in range(2))
    assert first == second
