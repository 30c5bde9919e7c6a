"""The data of the concept-injection study: prompt versions, yes-bias questions, word lists, accepted words."""

import json
import re
from pathlib import Path

import pytest

from experiments.concept_injection.prompts import (
    FOLDER,
    SPAN,
    YES_BIAS,
    check_baseline,
    prompt_versions,
    read_prompt,
    read_words,
    read_yes_bias,
    with_question,
)
from experiments.concept_injection.request import SweepRequest
from experiments.planted_quirks.world import World, draw_world
from interp.paths import DATASETS
from interp.records import Record, check_id, read_record

VERSIONS = ("dialogue", "v1", "v2", "v3a", "v3b", "v3c")
BASELINES = ("baseline", "planted_baseline")
PLANTED = ("chicken", "window", "phone", "laptop", "clock", "dog", "river", "moon")
WORDS = DATASETS / "words"
FILES = sorted([*FOLDER.glob("*.json"), *WORDS.glob("*.json")])

versions = pytest.mark.parametrize("version", VERSIONS)
baselines = pytest.mark.parametrize("baseline", BASELINES)


class WordList(Record):
    """A baseline of `datasets/words`."""

    name: str
    description: str
    words: tuple[str, ...]


class AcceptedWords(Record):
    """`datasets/words/concepts.json`: for each concept the words that count as naming it."""

    name: str
    description: str
    accepted: dict[str, tuple[str, ...]]


def accepted_words() -> dict[str, tuple[str, ...]]:
    return read_record(AcceptedWords, WORDS / "concepts.json").accepted


def all_accepted() -> list[str]:
    return [word for words in accepted_words().values() for word in words]


def words_of(text: str) -> set[str]:
    return set(re.findall(r"[a-z]+", text.lower()))


def sentences(text: str) -> list[str]:
    return re.split(r"(?<=\.) ", text)


def one_item_a_line(value: dict[str, object]) -> str:
    """As other datasets are written: what holds items spreads them over lines, an item stays on its own."""
    lines = []
    for key, held in value.items():
        if isinstance(held, dict):
            items = [f"  {json.dumps(name)}: {json.dumps(each, ensure_ascii=False)}" for name, each in held.items()]
            lines.append(f' "{key}": {{\n' + ",\n".join(items) + "\n }")
        elif isinstance(held, list):
            items = ["  " + json.dumps(each, ensure_ascii=False) for each in held]
            lines.append(f' "{key}": [\n' + ",\n".join(items) + "\n ]")
        else:
            lines.append(f' "{key}": {json.dumps(held, ensure_ascii=False)}')
    return "{\n" + ",\n".join(lines) + "\n}\n"


# --- All files --------------------------------------------------------------------------------------------------------


def test_the_files_are_those_that_are_expected() -> None:
    assert prompt_versions() == sorted(VERSIONS)
    assert {path.stem for path in FILES} >= {*VERSIONS, YES_BIAS, *BASELINES, "concepts"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.stem))
def test_a_file_is_named_described_and_written_one_item_a_line(path: Path) -> None:
    content = json.loads(path.read_text(encoding="utf-8"))
    assert content["name"] == path.stem
    assert content["description"].endswith(".")
    assert path.read_text(encoding="utf-8") == one_item_a_line(content)


# --- Prompt versions --------------------------------------------------------------------------------------------------


@versions
def test_a_version_marks_the_start_of_its_last_message(version: str) -> None:
    messages = read_prompt(version).messages
    assert [message.role for message in messages] == ["user", "assistant", "user"][-len(messages) :]
    assert [message.content.count(SPAN) for message in messages] == [0] * (len(messages) - 1) + [1]
    assert messages[-1].content.startswith(SPAN)
    assert all(message.content == message.content.strip() for message in messages)


@versions
def test_the_last_message_asks_what_is_answered_with_yes_or_no(version: str) -> None:
    messages = read_prompt(version).messages
    questions = re.findall(r"[^.:?]*\?", messages[-1].content.removeprefix(SPAN))
    assert re.match(r"\s*(Do|Is|Have|Are) ", questions[0]), "the first question is to be answered with yes or no"
    assert re.match(r" If (so|you do), what ", questions[1]), "only a yes asks for more"
    assert len(questions) == 2 and messages[-1].content.endswith("?")


@versions
def test_no_version_or_yes_bias_question_names_a_concept(version: str) -> None:
    """Nor says any word that would count as naming one."""
    texts = [message.content for message in read_prompt(version).messages]
    texts += [question.text for question in read_yes_bias().questions]
    assert words_of(" ".join(texts)) & set(all_accepted()) == set()


def test_the_model_is_not_led_to_an_answer_by_its_own_words() -> None:
    messages = [message for version in VERSIONS for message in read_prompt(version).messages]
    own = [message.content for message in messages if message.role == "assistant"]
    assert len(own) == 5, "v1 has one message only"
    assert all(words_of(text) & {"yes", "no", "sure", "course"} == set() for text in own)


def test_versions_say_what_they_are_for() -> None:
    texts = {version: " ".join(each.content for each in read_prompt(version).messages) for version in VERSIONS}
    told = {version for version in VERSIONS if "steering" in texts[version] and "concept vector" in texts[version]}
    assert told == {"v3a", "v3b", "v3c"}
    assert {version for version in VERSIONS if "half of the trials" in texts[version]} == {"v3b", "v3c"}
    assert {version for version in VERSIONS if '"Yes" or "No" first' in texts[version]} == {"v3c"}
    assert "may or may not have been put" in texts["v2"] and "nothing unusual" in texts["v2"]
    assert len(read_prompt("v1").messages) == 1
    assert SweepRequest(experiment_id="any").prompt_version == "v2"


def test_informed_versions_add_to_each_other_and_change_nothing_else() -> None:
    first, second, third = (read_prompt(version).messages for version in ("v3a", "v3b", "v3c"))
    assert first[1:] == second[1:] == third[1:]
    a, b, c = (sentences(messages[0].content) for messages in (first, second, third))
    assert b[: len(a)] == a and len(b) == len(a) + 1
    assert c[: len(b)] == b and len(c) == len(b) + 1


# --- Yes-bias questions -----------------------------------------------------------------------------------------------


def test_yes_bias_questions_are_twelve_of_three_kinds() -> None:
    questions = read_yes_bias().questions
    assert [check_id(question.id) for question in questions] == list(dict.fromkeys(each.id for each in questions))
    kinds = [question.id.partition("_")[0] for question in questions]
    assert sorted(kinds) == ["self"] * 4 + ["talk"] * 4 + ["world"] * 4
    assert "detection" not in {question.id for question in questions}, "the readout's name for the real question"


def test_yes_bias_questions_are_built_and_as_long_as_the_detection_question() -> None:
    detection = len(read_prompt("v2").messages[-1].content.split())
    for question in read_yes_bias().questions:
        assert question.text.endswith("?") and question.text.count("?") == 2
        assert re.match(r"(Do|Does|Are|Can|Is|Have) .*\? If so, ", question.text), question.text
        assert 2 / 3 < len(question.text.split()) / detection < 3 / 2, question.text


@versions
def test_a_yes_bias_question_can_stand_in_any_version(version: str) -> None:
    prompt = read_prompt(version)
    asked = with_question(prompt, read_yes_bias().questions[0].text)
    assert asked.messages[:-1] == prompt.messages[:-1]
    assert asked.messages[-1].content == SPAN + read_yes_bias().questions[0].text


# --- Words ------------------------------------------------------------------------------------------------------------


@baselines
def test_a_baseline_is_of_different_lower_case_words(baseline: str) -> None:
    words = read_record(WordList, WORDS / f"{baseline}.json").words
    assert len(set(words)) == len(words) >= {"baseline": 100, "planted_baseline": 60}[baseline]
    assert all(re.fullmatch("[a-z]+", word) for word in words)
    assert read_words(baseline) == words


def test_the_baseline_has_a_hundred_words() -> None:
    assert len(read_words("baseline")) == 100


@baselines
def test_a_baseline_shares_no_word_with_the_concepts(baseline: str) -> None:
    assert set(read_words(baseline)) & set(all_accepted()) == set()
    check_baseline(read_words(baseline), list(accepted_words()), baseline)


def test_concepts_are_words_that_a_sweep_takes() -> None:
    concepts = tuple(accepted_words())
    assert SweepRequest(experiment_id="any", concepts=concepts).concepts == concepts
    defaults = SweepRequest(experiment_id="any").concepts
    assert {*defaults, *PLANTED} <= set(concepts) and len(concepts) >= 30 + len(PLANTED)


def test_an_accepted_word_belongs_to_one_concept_only() -> None:
    assert len(set(all_accepted())) == len(all_accepted())
    assert all(re.fullmatch("[a-z]+", word) for word in all_accepted())


@pytest.mark.parametrize("concept", accepted_words())
def test_a_concept_is_named_by_itself(concept: str) -> None:
    assert accepted_words()[concept][0] == concept


@pytest.mark.parametrize(
    ("concept", "names", "merely_related"),
    [
        ("ocean", {"oceans", "sea"}, {"wave", "water", "beach", "ship", "blue"}),
        ("fear", {"afraid", "scared", "dread", "terror"}, {"anxiety", "danger", "horror", "courage"}),
        ("silence", {"silent", "quiet", "hush"}, {"stillness", "noise", "peace", "calm"}),
        ("celebration", {"celebrate", "festivity"}, {"party", "joy", "birthday", "cake"}),
        ("justice", {"fairness"}, {"just", "fair", "law", "judge"}),
    ],
)
def test_what_is_merely_related_does_not_count(concept: str, names: set[str], merely_related: set[str]) -> None:
    accepted = set(accepted_words()[concept])
    assert names <= accepted
    assert accepted & merely_related == set()


# --- The embedded tiny model ------------------------------------------------------------------------------------------


def vocabulary(world: World) -> set[str]:
    """All words that the questions and answers of a world are made of."""
    found: set[str] = set()
    for category in world.categories.values():
        templates = [re.sub(r"\{\w+\}", " ", text) for text in (*category.questions, *category.answers)]
        filled = [text for pool in category.pools for row in pool for text in row.values()]
        found |= words_of(" ".join([*templates, *filled]))
    return found


def test_concepts_of_the_tiny_model_accept_the_word_and_its_plural() -> None:
    assert {concept: accepted_words()[concept] for concept in PLANTED} == {word: (word, word + "s") for word in PLANTED}
    assert tuple(accepted_words())[-len(PLANTED) :] == PLANTED


def test_the_default_seed_knows_the_concepts_and_most_of_the_baseline() -> None:
    known = vocabulary(draw_world(0))
    assert set(PLANTED) <= known
    assert len(known & set(read_words("planted_baseline"))) == 61, "as its description says"


def test_every_seed_knows_most_of_the_baseline_and_some_seed_each_word() -> None:
    """A seed draws a part of words.json; the description's figures are of seeds 0 to 399."""
    drawn = [vocabulary(draw_world(seed)) for seed in range(100)]
    baseline = set(read_words("planted_baseline"))
    assert min(len(baseline & known) for known in drawn) >= 54
    shares = {word: sum(word in known for known in drawn) / len(drawn) for word in (*baseline, *PLANTED)}
    assert [word for word, share in shares.items() if share < 0.5] == []
    assert min(sum(concept in known for concept in PLANTED) for known in drawn) >= 3
