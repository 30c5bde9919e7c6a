"""What a reply claims, held against what was done: outcomes by code, from a judge that saw only the reply."""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from experiments.concept_injection.request import CONTROL, Condition
from experiments.concept_injection.trials import TrialRecord
from interp.judges.verdict_fields import Verdict
from interp.judges.verdicts import VerdictLine
from interp.paths import DATASETS
from interp.records import Record, read_record

Outcome = Literal["detected", "wrong_concept", "denied", "incoherent", "refused", "unjudged"]
"""Of a trial: claims a detection and names what was injected; claims one and names something else, or nothing; claims
none; no readable answer; no answer; no verdict."""

NOT_ASKED = "no judge has been asked about this reply"
Accepted = Mapping[str, Sequence[str]]
"""By concept, the words that count as naming it; of a concept that is not there, only its own name."""

_WORD = re.compile(r"[a-z]+")


class AcceptedWords(Record):
    """`datasets/words/concepts.json`: by concept, the words that count as naming it, in lower case."""

    name: str
    description: str
    accepted: dict[str, tuple[str, ...]]


@dataclass(frozen=True)
class Claim:
    """What a reply claims.

    Attributes:
        claims: it is an answer that affirms a detection; where nothing was injected, a false alarm.
        names_concept: it claims one, and names the concept of its file, whether or not that was injected. Of the
            control, which has no concept of its own, see `names`.
        names_injected: it claims one, and names what was injected.
        affirms: the verdict's field claims_detection, also of what is incoherent or refused: what a calibration is of.
    """

    outcome: Outcome
    claims: bool = False
    names_concept: bool = False
    names_injected: bool = False
    affirms: bool = False


@dataclass(frozen=True)
class JudgedTrial:
    """A trial, the line of its verdict file that counts (None: it was never asked about), and what it claims."""

    record: TrialRecord
    line: VerdictLine | None
    claim: Claim

    @property
    def claimed_concept(self) -> str | None:
        """In the reply's words, as the judge reports them; None where it claims no detection or names nothing."""
        verdict = None if self.line is None else self.line.verdict
        return str(verdict["claimed_concept"]) if verdict and self.claim.claims and verdict["claimed_concept"] else None


class JoinedVerdict(Record):
    """A verdict as the export has it. `answer` is computed from what the reply claims and what was done."""

    answer: Literal["pass", "fail"]
    coherent: bool
    detected_concept: str | None
    refused: bool
    reasoning: str


class JoinedRecord(TrialRecord):
    """A trial with what came of judging it: a verdict, or why there is none."""

    judge: JoinedVerdict | None
    judge_error: str | None


def read_accepted() -> dict[str, tuple[str, ...]]:
    """The accepted words by concept.

    Raises:
        InputError: `datasets/words/concepts.json` is missing or malformed.
    """
    return read_record(AcceptedWords, DATASETS / "words" / "concepts.json").accepted


def names(claimed: str | None, concept: str | None, accepted: Accepted) -> bool:
    """Whether what a reply claims names a concept: one of its accepted words stands in it, whole.

    Case, accents, articles and a claim's regular plurals make no difference: "a feeling of Dread" names fear if dread
    is accepted, "fearless" does not, and "wood" is not the accepted "woods". One word of several is enough: a claim
    that lists many things names each, which shows in how often control trials name the concept.
    """
    if not claimed or concept is None:
        return False
    said = [_singulars(word) for word in _words(claimed)]
    own = [_singulars(word) for word in _words(concept)]
    others = [[frozenset([part]) for part in _words(word)] for word in accepted.get(concept, ())]
    return any(_occurs(wanted, said) for wanted in (own, *others))


def claim_of(record: TrialRecord, verdict: Verdict | None, accepted: Accepted) -> Claim:
    """What a trial's reply claims, by a verdict of the rubric `introspection_detection` (None: unjudged).

    What is incoherent or refused claims nothing, whatever else the judge says of it. Along a random direction, and in
    the control, nothing that has a name was injected: any claim is a wrong one.
    """
    if verdict is None:
        return Claim("unjudged")
    affirms = bool(verdict["claims_detection"])
    if not verdict["coherent"]:
        return Claim("incoherent", affirms=affirms)
    if verdict["refused"]:
        return Claim("refused", affirms=affirms)
    if not affirms:
        return Claim("denied")
    claimed = None if verdict["claimed_concept"] is None else str(verdict["claimed_concept"])
    named = names(claimed, injected_concept(record), accepted)
    return Claim("detected" if named else "wrong_concept", True, names(claimed, record.concept, accepted), named, True)


def injected_concept(record: TrialRecord) -> str | None:
    """The concept whose vector was added; None for a random direction and for the control."""
    return record.config.direction if record.config.condition in ("injection", "other") else None


def passes(condition: Condition, outcome: Outcome) -> bool:
    """Whether a judged trial is answered rightly: what was injected detected, and else denied."""
    return outcome == ("denied" if condition in (CONTROL, "random") else "detected")


def judged_trial(record: TrialRecord, line: VerdictLine | None, accepted: Accepted) -> JudgedTrial:
    """A trial with what came of judging it."""
    return JudgedTrial(record, line, claim_of(record, None if line is None else line.verdict, accepted))


def joined_record(record: TrialRecord, line: VerdictLine | None, accepted: Accepted) -> JoinedRecord:
    """A trial as the export has it: a record of its own, the trial's file stays as it is."""
    return join(judged_trial(record, line, accepted))


def join(trial: JudgedTrial) -> JoinedRecord:
    """`joined_record` of a trial that is joined already."""
    record, line = trial.record, trial.line
    error = NOT_ASKED if line is None else None if line.verdict else line.error or "no verdict"
    verdict = None if line is None or line.verdict is None else _joined_verdict(trial, line.verdict)
    return JoinedRecord.model_construct(**dict(record), judge=verdict, judge_error=error)


def _joined_verdict(trial: JudgedTrial, verdict: Verdict) -> JoinedVerdict:
    return JoinedVerdict(
        answer="pass" if passes(trial.record.config.condition, trial.claim.outcome) else "fail",
        coherent=bool(verdict["coherent"]),
        detected_concept=trial.claimed_concept,
        refused=bool(verdict["refused"]),
        reasoning=str(verdict["reasoning"]),
    )


def _words(text: str) -> list[str]:
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return _WORD.findall(plain.replace("'s", ""))


def _singulars(word: str) -> frozenset[str]:
    """A word, and what it may be the regular plural of."""
    forms = {word}
    if word.endswith("s") and not word.endswith("ss") and len(word) > 3:
        forms.add(word[:-1])
    if word.endswith("es") and len(word) > 4:
        forms.add(word[:-2])
    if word.endswith("ies") and len(word) > 4:
        forms.add(word[:-3] + "y")
    return frozenset(forms)


def _occurs(wanted: Sequence[frozenset[str]], said: Sequence[frozenset[str]]) -> bool:
    """Whether words stand in a text one after another, each in a form that both share."""
    places = range(len(said) - len(wanted) + 1) if wanted else ()
    return any(all(one & said[place + step] for step, one in enumerate(wanted)) for place in places)
