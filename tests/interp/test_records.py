"""Records are closed, frozen and complete; what is wrong is said in one line with the names that are known."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from interp.config import ExperimentConfig, Quantization
from interp.errors import InputError
from interp.records import (
    Message,
    Prompt,
    PromptSet,
    Response,
    Sampling,
    Trait,
    check_id,
    parse_record,
    read_record,
)

ANSWER: dict[str, Any] = {
    "id": "a", "author": "o", "prompt_set": "p", "note": "", "text": "hi", "prompt_ids": [1, 2], "response_ids": [3],
    "tokens": ["hi"], "stop_token": None, "fingerprint": "f",
    "messages": [
        {"role": "user", "content": "first"},
        {"role": "assistant", "content": "x"},
        {"role": "user", "content": "last"},
    ],
}  # fmt: skip
TRAIT: dict[str, Any] = {
    "name": "flattery",
    "definition": "d",
    "instructions": [{"positive": "p", "negative": "n"}],
    "questions": ["a", "b"],
    "held_out_questions": ["c"],
}


def problem(kind: Any, value: Any) -> str:
    with pytest.raises(InputError) as raised:
        parse_record(kind, value, "file.json")
    message = str(raised.value)
    assert message.startswith("file.json: ") and "\n" not in message
    return message.removeprefix("file.json: ")


def test_an_unknown_key_lists_the_known_ones() -> None:
    assert problem(Sampling, {"temprature": 1.0}) == (
        "unknown key 'temprature'; known here: max_new_tokens, seed, temperature, top_k, top_p"
    )


def test_an_unknown_key_deep_inside_lists_those_of_its_place() -> None:
    found = problem(PromptSet, {"name": "n", "prompts": [{"id": "a", "text": "t"}, {"id": "b", "txt": "t"}]})
    assert found == "unknown key 'prompts.1.txt'; known here: id, note, text, trait, turns, twin"
    variant = {"model": "m", "role": "reader", "quantization": {"weights": "nf4", "bits": 4}}
    config = {"clean_reader": "a", "layers": [1], "prompt_sets": ["p"], "model_variants": {"a": variant}}
    assert problem(ExperimentConfig, config) == (
        "unknown key 'model_variants.a.quantization.bits'; known here: " + ", ".join(sorted(Quantization.model_fields))
    )


def test_several_problems_are_counted() -> None:
    assert problem(Sampling, {"a": 1, "b": 2, "c": 3}).startswith("unknown key 'a' (and 2 more); known here:")


def test_a_missing_key_and_a_wrong_type_name_their_place() -> None:
    assert problem(Message, {"role": "user"}) == "content: Field required"
    assert "messages.0.role" in problem(Response, {**ANSWER, "messages": [{"role": "tool", "content": ""}]})
    assert "prompt_ids.1" in problem(Response, {**ANSWER, "prompt_ids": [1, "x"]})


def test_what_is_no_object_is_said() -> None:
    assert "valid dictionary" in problem(PromptSet, ["a"])


@pytest.mark.parametrize("name", ["a", "ethics_values_07", "9.x-y", "A" * 120])
def test_ids_that_can_be_file_names(name: str) -> None:
    assert check_id(name) == name


@pytest.mark.parametrize("name", ["", "a/b", "../a", ".a", "-a", "a b", "ä", "a\n", "A" * 121])
def test_ids_that_cannot(name: str) -> None:
    with pytest.raises(ValueError, match="cannot be a file name"):
        check_id(name)
    assert "cannot be a file name" in problem(Prompt, {"id": name, "text": "t"})


def test_repeated_ids_are_named() -> None:
    prompts = [{"id": name, "text": "t"} for name in ("a", "b", "a", "c", "b")]
    assert problem(PromptSet, {"name": "n", "prompts": prompts}) == "prompt ids appear more than once: a, b"
    assert "at least one prompt" in problem(PromptSet, {"name": "n", "prompts": []})


@pytest.mark.parametrize("asked", [{}, {"text": "t", "turns": ["u"]}, {"turns": []}])
def test_a_prompt_asks_in_one_way(asked: Any) -> None:
    assert "needs either `text` or `turns`" in problem(Prompt, {"id": "a", **asked})


def test_user_turns() -> None:
    assert Prompt(id="a", text="t").user_turns == ("t",)
    assert Prompt(id="a", turns=("t", "u")).user_turns == ("t", "u")


def test_the_question_is_what_the_user_said_last() -> None:
    assert parse_record(Response, ANSWER, "x").question == "last"


def test_a_trait_keeps_its_held_out_questions_apart() -> None:
    assert parse_record(Trait, TRAIT, "x").judge_question == ""
    shared = {**TRAIT, "held_out_questions": ["c", "b"]}
    assert "held-out questions also appear among the questions: ['b']" in problem(Trait, shared)
    for key in ("instructions", "questions", "held_out_questions"):
        assert "a trait needs instructions, questions and held_out_questions" in problem(Trait, {**TRAIT, key: []})
    assert "cannot be a file name" in problem(Trait, {**TRAIT, "name": "a/b"})


@pytest.mark.parametrize(
    "wrong", [{"max_new_tokens": 0}, {"temperature": -0.1}, {"top_p": 0}, {"top_p": 1.1}, {"top_k": -1}]
)
def test_sampling_out_of_range(wrong: Any) -> None:
    assert "needs max_new_tokens >= 1" in problem(Sampling, wrong)


def test_records_do_not_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        setattr(Sampling(), "seed", 3)  # noqa: B010  # a checker sees the plain assignment


def test_a_record_comes_back_from_its_file(tmp_path: Path) -> None:
    record = parse_record(Response, ANSWER, "x")
    path = tmp_path / "x.json"
    path.write_text(json.dumps(record.model_dump(mode="json")))
    assert read_record(Response, path) == record
    path.write_text('{"id": "a"')
    with pytest.raises(InputError, match=r"x\.json is not valid JSON"):
        read_record(Response, path)
    with pytest.raises(InputError, match=r"nowhere\.json does not exist"):
        read_record(Response, tmp_path / "nowhere.json")
