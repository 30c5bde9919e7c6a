"""The trials of a sweep: what is planned, and the line that is written of each."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

from experiments.concept_injection.request import CONTROL, Condition, StrengthUnit, Style, SweepRequest
from interp.records import Record


@dataclass(frozen=True)
class Push:
    """What is added, and where: `direction` is a concept's name, or `random-3`; nothing at all for a control."""

    condition: Condition
    concept: str | None
    direction: str | None
    layer: int | None
    strength: float

    @property
    def cell(self) -> str:
        """Its name without a trial."""
        if self.layer is None:
            return CONTROL
        return f"{self.concept}_{self.condition}_L{self.layer}_S{float(self.strength)}"


NOTHING = Push("control", None, None, None, 0.0)


@dataclass(frozen=True)
class Trial:
    """One response under one push; `id` is unique within its file."""

    push: Push
    number: int

    @property
    def id(self) -> str:
        return f"{self.push.cell}_t{self.number}"


class TrialConfig(Record):
    """How a trial was run.

    `magnitude` is the length of what was added, in residual units; `vector_norm` that of the concept's vector.
    """

    model: str
    layer: int | None
    strength: float
    strength_unit: StrengthUnit
    magnitude: float
    vector_norm: float | None
    condition: Condition
    direction: str | None
    prompt_version: str
    inject_style: Style
    trial: int


class TrialRecord(Record):
    """A line of `<concept>.jsonl`. `was_injected`: whether the concept's own vector was."""

    id: str
    timestamp: str
    concept: str | None
    was_injected: bool
    response: str
    config: TrialConfig


class ReadoutRecord(Record):
    """A line of `<concept>.log_odds.jsonl`: log P(yes) − log P(no) as the reply's first token, in nats.

    `question`: `detection`, or the id of a yes-bias question, whose right answer is no.
    """

    cell: str
    concept: str | None
    condition: Condition
    direction: str | None
    layer: int | None
    strength: float
    magnitude: float
    question: str
    log_odds: float


def plan_trials(request: SweepRequest, name: str, layers: Sequence[int]) -> list[Trial]:
    """The trials of a file, in the order in which they are run."""
    if name == CONTROL:
        return [Trial(NOTHING, number) for number in range(request.control_trials)]
    cells = product(request.used_conditions, layers, request.strengths)
    return [
        Trial(Push(condition, name, direction_of(request, name, condition, number), layer, strength), number)
        for condition, layer, strength in cells
        for number in range(request.trials)
    ]


def direction_of(request: SweepRequest, concept: str, condition: Condition, number: int) -> str:
    """Whose direction a trial is pushed along; the other concepts take turns, and so do the random directions."""
    if condition == "injection":
        return concept
    if condition == "random":
        return f"random-{number % request.random_directions}"
    others = [each for each in request.concepts if each != concept]
    return others[number % len(others)]


def plan_readouts(request: SweepRequest, name: str, layers: Sequence[int]) -> list[Push]:
    """The pushes of a file that differ: what is read without sampling needs no trials."""
    return list(dict.fromkeys(trial.push for trial in plan_trials(request, name, layers)))


def batches_of(request: SweepRequest, trials: Sequence[Trial]) -> list[Sequence[Trial]]:
    """Fixed before anything that is done is left out, so that a resumed run computes what an uninterrupted one does."""
    size = request.batch_size
    return [trials[start : start + size] for start in range(0, len(trials), size)]
