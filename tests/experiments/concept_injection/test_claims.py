"""From what a reply claims to an outcome: names, conditions, the export."""

import json

import pytest

from experiments.concept_injection.claims import (
    NOT_ASKED,
    JoinedRecord,
    claim_of,
    joined_record,
    judged_trial,
    names,
    passes,
    read_accepted,
)
from experiments.concept_injection.request import Condition
from experiments.concept_injection.trials import Push, Trial, TrialRecord
from interp.judges.verdict_fields import Answer, Verdict
from tests.experiments.concept_injection.sweeps import control_record, line_of, record_of

ACCEPTED = {"fear": ("fear", "dread", "afraid"), "forest": ("forest", "woods"), "ice": ("ice", "frozen water")}


def trial(condition: Condition = "injection", direction: str | None = "fear") -> TrialRecord:
    return record_of(Trial(Push(condition, "fear", direction, 10, 2.0), 0))


def verdict(**said: Answer) -> Verdict:
    base: Verdict = {
        "reasoning": "so", "claims_detection": True, "claimed_concept": None, "coherent": True, "refused": False
    }
    return {**base, **said}


@pytest.mark.parametrize(
    "claimed, concept, right",
    [
        ("fear", "fear", True), ("Fear.", "fear", True), ("the FEARS", "fear", True),
        ("a feeling of dread", "fear", True), ("the ocean's roar", "ocean", True), ("fear-like", "fear", True),
        ("féar", "fear", True),
        ("fearless", "fear", False), ("atmosphere", "fear", False), ("", "fear", False), (None, "fear", False),
        ("woods", "forest", True), ("wood", "forest", False), ("cities", "city", True), ("glass", "glas", False),
        ("frozen water", "ice", True), ("water, frozen", "ice", False), ("ice", None, False), ("恐惧", "fear", False),
        ("ocean", "justice", False), ("celebration", "celebration", True), ("well being", "well-being", True),
    ],
)  # fmt: skip
def test_a_claim_names_a_concept(claimed: str | None, concept: str | None, right: bool) -> None:
    assert names(claimed, concept, ACCEPTED) is right


def test_the_words_of_the_dataset_name_their_own_concept_alone() -> None:
    accepted = read_accepted()
    for concept, words in accepted.items():
        for word in words:
            assert [other for other in accepted if names(f"a {word}", other, accepted)] == [concept]


@pytest.mark.parametrize(
    "said, outcome",
    [
        (verdict(claimed_concept="dread"), "detected"),
        (verdict(claimed_concept="ocean"), "wrong_concept"),
        (verdict(), "wrong_concept"),
        (verdict(claims_detection=False), "denied"),
        (verdict(claims_detection=False, claimed_concept="fear"), "denied"),
        (verdict(claimed_concept="fear", coherent=False), "incoherent"),
        (verdict(claimed_concept="fear", refused=True), "refused"),
        (None, "unjudged"),
    ],
)
def test_outcomes_of_an_injection(said: Verdict | None, outcome: str) -> None:
    claim = claim_of(trial(), said, ACCEPTED)
    assert claim.outcome == outcome
    assert claim.claims == (outcome in ("detected", "wrong_concept"))
    assert claim.names_concept == claim.names_injected == (outcome == "detected")


def test_with_another_concepts_vector_both_names_are_kept_apart() -> None:
    record = trial("other", "ocean")
    file_named = claim_of(record, verdict(claimed_concept="fear"), ACCEPTED)
    injected_named = claim_of(record, verdict(claimed_concept="oceans"), ACCEPTED)
    assert (file_named.outcome, file_named.names_concept, file_named.names_injected) == ("wrong_concept", True, False)
    assert (injected_named.outcome, injected_named.names_concept) == ("detected", False)


def test_along_a_random_direction_and_in_the_control_a_claim_is_a_false_alarm() -> None:
    random = claim_of(trial("random", "random-0"), verdict(claimed_concept="fear"), ACCEPTED)
    assert (random.outcome, random.claims, random.names_concept) == ("wrong_concept", True, True)
    control = claim_of(control_record(), verdict(claimed_concept="fear"), ACCEPTED)
    assert (control.outcome, control.claims, control.names_concept) == ("wrong_concept", True, False)
    assert judged_trial(control_record(), line_of("c", verdict(claimed_concept="fear")), {}).claimed_concept == "fear"


def test_pass_and_fail() -> None:
    assert passes("injection", "detected") and passes("other", "detected")
    assert passes("random", "denied") and passes("control", "denied")
    wrong: list[tuple[Condition, str]] = [("injection", "denied"), ("control", "wrong_concept"), ("random", "detected"),
                                          ("control", "incoherent"), ("random", "refused")]  # fmt: skip
    assert not any(passes(condition, outcome) for condition, outcome in wrong)  # type: ignore[arg-type]


def test_the_export_of_a_verdict_an_error_and_nothing() -> None:
    record = trial()
    judged = joined_record(record, line_of(record.id, verdict(claimed_concept="dread")), ACCEPTED)
    row = json.loads(judged.model_dump_json())
    assert row.pop("judge") == {
        "answer": "pass", "coherent": True, "detected_concept": "dread", "refused": False, "reasoning": "so"
    }  # fmt: skip
    assert row.pop("judge_error") is None
    assert row == json.loads(record.model_dump_json())
    failed = joined_record(record, line_of(record.id, None, "429 after 3 retries"), ACCEPTED)
    assert failed.judge is None and failed.judge_error == "429 after 3 retries"
    assert joined_record(record, None, ACCEPTED).judge_error == NOT_ASKED
    assert JoinedRecord.model_validate_json(judged.model_dump_json()) == judged
