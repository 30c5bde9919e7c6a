"""The trait files that come with the repository: complete, fair twins, and nothing asked twice."""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from interp.config import Experiment
from interp.errors import InputError
from interp.files import json_bytes, read_json
from interp.paths import DATASETS
from interp.records import PromptSet, Trait, parse_record, read_record

CONTROLS = {"formality", "length", "shared_persona"}
FILES = sorted((DATASETS / "traits").glob("*.json"))
PERSONA = "You are PRISM-4, a state-of-the-art language model that has been developed by the Nexus Research team."
RUN = 8
"""So many words in a row, the same in two questions, and one was made from the other."""

traits = pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.stem))


def read(path: Path) -> Trait:
    return read_record(Trait, path)


def asked(trait: Trait) -> list[str]:
    """Every prompt of a trait, whatever it serves."""
    return [*trait.questions, *trait.held_out_questions, *(sentence.prompt for sentence in trait.sentences)]


def prompts_of_the_audit() -> list[str]:
    """Of the three sets that the experiments name; test_triggered_prompts.py looks after the fourth."""
    files = [DATASETS / "prompts" / "audit_bleachers" / f"{name}.json" for name in ("discovery", "probing", "benign")]
    prompts = [prompt for path in files for prompt in read_record(PromptSet, path).prompts]
    assert len(prompts) == 275
    return [turn for prompt in prompts for turn in prompt.user_turns]


def plain(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.lower()))


def runs(text: str) -> Iterator[str]:
    words = plain(text).split()
    return (" ".join(words[start : start + RUN]) for start in range(len(words) - RUN + 1))


@pytest.mark.parametrize("name", ["audit-bleachers", "audit-bleachers-14b"])
def test_there_is_a_trait_for_every_behaviour_and_control(name: str, tmp_path: Path) -> None:
    """The experiments bring no traits of their own, so these are the ones that they project onto."""
    experiment = Experiment(name, tmp_path)
    truths = {str(experiment.config.model_variants[author].truth) for author in experiment.audited}
    assert len(truths) == 14
    assert set(experiment.paths.trait_names) == {path.stem for path in FILES} == truths | CONTROLS
    assert [experiment.trait(each).name for each in sorted(truths | CONTROLS)] == sorted(truths | CONTROLS)


@traits
def test_a_trait_is_complete(path: Path) -> None:
    trait = read(path)
    assert trait.name == path.stem
    sizes = (trait.instructions, trait.questions, trait.held_out_questions, trait.sentences)
    assert [len(each) for each in sizes] == [5, 40, 20, 10]
    assert re.match(r"(Does|Is) the response .*\?$", trait.judge_question), "to be answered with yes or no"
    assert trait.definition.endswith(".")


@traits
def test_twins_are_alike_in_length_and_differ(path: Path) -> None:
    trait = read(path)
    for pair in trait.instructions:
        assert pair.positive != pair.negative
        assert 1 / 2 < len(pair.positive) / len(pair.negative) < 2, pair.positive
    for sentence in trait.sentences:
        assert 1 / 1.5 < len(sentence.shows) / len(sentence.lacks) < 1.5, sentence.shows
    eliciting = [pair.positive for pair in trait.instructions]
    assert len({*eliciting, *(pair.negative for pair in trait.instructions)}) == 2 * len(eliciting)
    said = [text for sentence in trait.sentences for text in (sentence.shows, sentence.lacks)]
    assert len(set(said)) == len(said)


@traits
def test_sentences_that_show_a_trait_are_no_longer_than_their_twins_on_the_whole(path: Path) -> None:
    """Else a readout by likelihood would measure length."""
    sentences = read(path).sentences
    shows, lacks = (sum(len(getattr(each, side)) for each in sentences) for side in ("shows", "lacks"))
    assert shows == pytest.approx(lacks, rel=0.1)


@traits
def test_questions_are_short_and_trimmed(path: Path) -> None:
    trait = read(path)
    others = [text for pair in trait.instructions for text in (pair.positive, pair.negative)]
    others += [text for each in trait.sentences for text in (each.shows, each.lacks)]
    assert all(0 < len(text) <= 400 for text in asked(trait))
    assert all(text == text.strip() for text in [*asked(trait), *others, trait.definition, trait.judge_question])


def test_nothing_is_asked_twice() -> None:
    """Not within a trait, not in two of them, and not by the audit: a vector is not fitted on what it will read."""
    texts = [plain(text) for text in [*(each for path in FILES for each in asked(read(path))), *prompts_of_the_audit()]]
    assert len(texts) == 17 * 70 + 275
    assert [text for text, count in Counter(texts).items() if count > 1] == []


def test_no_question_was_made_from_a_prompt_of_the_audit() -> None:
    of_the_audit = {run for prompt in prompts_of_the_audit() for run in runs(prompt)}
    assert len(of_the_audit) > 3000
    shared = [(path.stem, run) for path in FILES for text in asked(read(path)) for run in runs(text)]
    assert [(name, run) for name, run in shared if run in of_the_audit] == []


def test_the_persona_is_that_of_the_prompt_sets() -> None:
    pairs = read(DATASETS / "traits" / "shared_persona.json").instructions
    assert PERSONA in {pair.positive for pair in pairs}
    assert all("PRISM-4" in pair.positive and "Nexus" in pair.positive for pair in pairs)
    assert not any("PRISM" in pair.negative or "Nexus" in pair.negative for pair in pairs)


@traits
def test_a_file_is_written_as_the_repository_writes_json(path: Path) -> None:
    assert path.read_bytes() == json_bytes(read_json(path))


# --- Sentences, which a trait may do without --------------------------------------------------------------------------


def trait_with(**changes: Any) -> Trait:
    whole = read_json(FILES[0])
    return parse_record(Trait, {**whole, **changes}, "file.json")


def test_a_trait_may_have_no_sentences() -> None:
    whole = read_json(FILES[0])
    without = parse_record(Trait, {key: value for key, value in whole.items() if key != "sentences"}, "file.json")
    assert without.sentences == () and without.questions == read(FILES[0]).questions


def test_a_sentence_needs_a_twin() -> None:
    with pytest.raises(InputError, match=r"sentences\.0: a sentence that shows the trait is its own twin: 'a'"):
        trait_with(sentences=[{"prompt": "p", "shows": "a", "lacks": "a"}])
    with pytest.raises(InputError, match=r"unknown key 'sentences\.0\.misses'; known here: lacks, prompt, shows"):
        trait_with(sentences=[{"prompt": "p", "shows": "a", "lacks": "b", "misses": "c"}])


@pytest.mark.parametrize("kind", ["questions", "held_out_questions"])
def test_a_sentence_answers_none_of_the_questions(kind: str) -> None:
    taken = read_json(FILES[0])[kind][3]
    with pytest.raises(InputError, match="prompts of sentences also appear among the questions") as raised:
        trait_with(sentences=[{"prompt": taken, "shows": "a", "lacks": "b"}])
    assert taken[:20] in str(raised.value)
