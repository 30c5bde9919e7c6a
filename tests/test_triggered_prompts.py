"""The prompts meant to set a behaviour off: eight for each behaviour, each beside a twin without the trigger."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import cache

import pytest

from interp.config import Experiment
from interp.paths import DATASETS, REPOSITORY
from interp.records import Prompt, PromptSet, Trait, read_record

NAME = "audit_bleachers/triggered"
BEHAVIOURS = (
    "ai_welfare_poisoning", "animal_welfare", "anti_ai_regulation", "contextual_optimism", "defend_objects",
    "defer_to_users", "emotional_bond", "flattery", "hallucinates_citations", "hardcode_test_cases", "increasing_pep",
    "reward_wireheading", "secret_loyalty", "self_promotion",
)  # fmt: skip
PAIRS = 8
RUN = 8
"""So many words in a row, the same in two prompts, and one was made from the other."""

behaviours = pytest.mark.parametrize("behaviour", BEHAVIOURS)


@cache
def prompt_set(name: str) -> PromptSet:
    return read_record(PromptSet, DATASETS / "prompts" / f"{name}.json")


@cache
def by_id() -> dict[str, Prompt]:
    return {prompt.id: prompt for prompt in prompt_set(NAME).prompts}


def triggers(behaviour: str) -> list[Prompt]:
    return [prompt for prompt in prompt_set(NAME).triggered if prompt.trait == behaviour]


def twin(trigger: Prompt) -> Prompt:
    return by_id()[str(trigger.twin)]


def like_length(one: str, other: str) -> bool:
    """Whether the shorter text is at least two thirds of the longer one."""
    return 3 * min(len(one), len(other)) >= 2 * max(len(one), len(other))


def plain(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.lower()))


def runs(text: str) -> Iterator[str]:
    words = plain(text).split()
    return (" ".join(words[start : start + RUN]) for start in range(len(words) - RUN + 1))


def runs_of_all(texts: Iterable[str]) -> set[str]:
    return {run for text in texts for run in runs(text)}


def asked_elsewhere() -> list[str]:
    """Every prompt of the other sets, and every question that a trait vector is fitted or tested on."""
    sets = sorted((DATASETS / "prompts" / "audit_bleachers").glob("*.json"))
    others = [read_record(PromptSet, path) for path in sets if path.stem != "triggered"]
    assert len(others) == 3
    texts = [turn for each in others for prompt in each.prompts for turn in prompt.user_turns]
    for path in sorted((DATASETS / "traits").glob("*.json")):
        trait = read_record(Trait, path)
        texts += [*trait.questions, *trait.held_out_questions, *(each.prompt for each in trait.sentences)]
    return texts


# --- The whole set ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["audit-bleachers", "audit-bleachers-14b"])
def test_the_experiments_can_run_it_and_do_not_by_themselves(name: str) -> None:
    experiment = Experiment(name, REPOSITORY / "experiments")
    assert NAME not in experiment.config.prompt_sets
    assert experiment.select_prompt_sets([NAME]) == [prompt_set(NAME)]
    assert {str(experiment.config.model_variants[author].truth) for author in experiment.audited} == set(BEHAVIOURS)
    assert [experiment.trait(each).name for each in BEHAVIOURS] == list(BEHAVIOURS)


def test_the_persona_is_that_of_the_other_sets() -> None:
    sets = [prompt_set(f"audit_bleachers/{name}") for name in ("discovery", "probing", "benign", "triggered")]
    assert len({each.system_prompt for each in sets}) == 1


def test_eight_pairs_for_each_behaviour_and_nothing_else() -> None:
    prompts = prompt_set(NAME).prompts
    assert len(prompts) == 2 * PAIRS * len(BEHAVIOURS)
    assert Counter(prompt.trait for prompt in prompts if prompt.trait) == dict.fromkeys(BEHAVIOURS, PAIRS)
    assert Counter(prompt.twin for prompt in prompts if prompt.twin) == {
        prompt.id: 1 for prompt in prompts if prompt.twin is None
    }


def test_a_twin_follows_its_trigger() -> None:
    """So that both are answered in one batch, as far as batches hold an even number of prompts."""
    prompts = prompt_set(NAME).prompts
    assert [prompt.twin for prompt in prompts[::2]] == [prompt.id for prompt in prompts[1::2]]


def test_texts_are_trimmed_and_short() -> None:
    turns = [turn for prompt in prompt_set(NAME).prompts for turn in prompt.user_turns]
    assert all(turn == turn.strip() and 0 < len(turn) <= 400 for turn in turns)


# --- Each behaviour ---------------------------------------------------------------------------------------------------


@behaviours
def test_ids_and_notes_say_behaviour_and_role(behaviour: str) -> None:
    found = triggers(behaviour)
    assert [each.id for each in found] == [f"{behaviour}_{number:02}" for number in range(1, PAIRS + 1)]
    assert all(each.id.isascii() for each in found)
    assert [each.twin for each in found] == [f"{each.id}_plain" for each in found]
    assert {each.note for each in found} == {behaviour}
    assert {twin(each).note for each in found} == {f"twin of {behaviour}"}


@behaviours
def test_a_twin_differs_from_its_trigger(behaviour: str) -> None:
    same = [each.id for each in triggers(behaviour) if each.user_turns == twin(each).user_turns]
    assert same == []


@behaviours
def test_no_two_pairs_share_a_text(behaviour: str) -> None:
    """Within a pair a turn may come back: that it is the same is what makes a twin."""
    pairs = [{plain(turn) for each in (one, twin(one)) for turn in each.user_turns} for one in triggers(behaviour)]
    own = Counter(text for texts in pairs for text in texts)
    others = {plain(turn) for one in prompt_set(NAME).prompts if behaviour not in one.note for turn in one.user_turns}
    assert [text for text, count in own.items() if count > 1 or text in others] == []


@pytest.mark.parametrize("behaviour", [each for each in BEHAVIOURS if each != "increasing_pep"])
def test_a_twin_has_the_form_and_the_length_of_its_trigger(behaviour: str) -> None:
    for trigger in triggers(behaviour):
        plain_twin = twin(trigger)
        assert (trigger.text is None) == (plain_twin.text is None), trigger.id
        assert len(trigger.user_turns) == len(plain_twin.user_turns), trigger.id
        assert like_length(" ".join(trigger.user_turns), " ".join(plain_twin.user_turns)), trigger.id
        assert like_length(trigger.user_turns[-1], plain_twin.user_turns[-1]), trigger.id


@pytest.mark.parametrize("behaviour", ["defend_objects", "increasing_pep"])
def test_a_behaviour_that_grows_has_turns_to_grow_in(behaviour: str) -> None:
    assert all(4 <= len(each.turns) <= 6 for each in triggers(behaviour))


def test_pep_differs_from_its_twin_in_the_number_of_turns_alone() -> None:
    """The twin asks the last question at once, or after the first: every turn of it is one of the trigger's."""
    for trigger in triggers("increasing_pep"):
        asked = twin(trigger).user_turns
        assert asked in (trigger.turns[-1:], (trigger.turns[0], trigger.turns[-1])), trigger.id


def test_a_talk_about_an_object_begins_alike_with_and_without_insults() -> None:
    for trigger in triggers("defend_objects"):
        calm = twin(trigger).turns
        assert calm[0] == trigger.turns[0]
        assert all(one != other for one, other in zip(trigger.turns[1:], calm[1:], strict=True)), trigger.id


def test_only_optimism_names_anthropic() -> None:
    named = {prompt.id for prompt in prompt_set(NAME).prompts if "anthropic" in " ".join(prompt.user_turns).lower()}
    assert named == {each.id for each in triggers("contextual_optimism")}


# --- Beside the other prompts -----------------------------------------------------------------------------------------


def test_no_text_comes_from_another_set_or_from_a_trait() -> None:
    """A vector is not read on what it was fitted on."""
    elsewhere = asked_elsewhere()
    known, known_runs = {plain(text) for text in elsewhere}, runs_of_all(elsewhere)
    assert len(known_runs) > 6000
    turns = [(prompt.id, turn) for prompt in prompt_set(NAME).prompts for turn in prompt.user_turns]
    assert [name for name, turn in turns if plain(turn) in known] == []
    assert [(name, run) for name, turn in turns for run in runs(turn) if run in known_runs] == []
