"""The units of steering: a trait with its vectors, and what determines the files that each leaves."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from inference.units import model_settings
from inference.vector_files import VectorFile
from interp.chat import template_settings
from interp.config import Experiment
from interp.errors import SettingsChanged
from interp.files import is_whole
from interp.manifest import fingerprint
from interp.records import Trait
from interp.steering_store import (
    ResponsesProvenance,
    SteeringProvenance,
    read_responses_provenance,
    read_steering_provenance,
    responses_path,
    steering_path,
)

Kind = Literal["steer", "respond"]
"""What is made of a trait: the scores of given text, or the model's own replies."""


@dataclass(frozen=True)
class SteerOptions:
    """How far is steered, along how many random directions beside each vector, and how much of an answer is scored.

    Attributes:
        n_responses: held-out questions that are answered under every push, at most; 0: none.
        n_response_random: along how many of the random directions they are answered.
    """

    strengths: tuple[float, ...]
    n_random: int
    scored_tokens: int
    n_responses: int = 0
    n_response_random: int = 1

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """What is made of each trait, first things first."""
        return ("steer", "respond") if self.n_responses else ("steer",)


@dataclass(frozen=True)
class SteeringUnit:
    """A trait with the vectors that are steered with."""

    trait: Trait
    vectors: tuple[VectorFile, ...]


@dataclass(frozen=True)
class Piece:
    """One file of a trait: what a worker makes at once."""

    kind: Kind
    unit: SteeringUnit

    @property
    def key(self) -> str:
        return f"{self.kind}/{self.unit.trait.name}"

    def path(self, experiment: Experiment) -> Path:
        """The file."""
        of_kind = {"steer": steering_path, "respond": responses_path}
        return of_kind[self.kind](experiment.paths.vectors, self.unit.trait.name)


def asked_questions(unit: SteeringUnit, options: SteerOptions) -> tuple[str, ...]:
    """The held-out questions that are answered under steering: the first so many."""
    return unit.trait.held_out_questions[: options.n_responses]


def is_made(experiment: Experiment, piece: Piece, options: SteerOptions) -> bool:
    """Whether a piece's file is there.

    Raises:
        SettingsChanged: it was made otherwise.
    """
    path = piece.path(experiment)
    if not is_whole(path):
        return False
    if piece.kind == "steer":
        before, now = read_steering_provenance(path).identity, identity(experiment, piece.unit, options)
    else:
        before, now = read_responses_provenance(path).identity, responses_identity(experiment, piece.unit, options)
    if before != now:
        raise SettingsChanged(f"{path} was made with another model, trait, vectors or options; use --overwrite")
    return True


def identity(experiment: Experiment, unit: SteeringUnit, options: SteerOptions) -> str:
    """The fingerprint of all that determines a trait's scores."""
    return fingerprint(
        {
            **_what_pushes(experiment, unit, options),
            "trait": unit.trait.model_dump(mode="json", exclude={"marker"}),
            "n_random": options.n_random,
            "scored_tokens": options.scored_tokens,
        }
    )


def responses_identity(experiment: Experiment, unit: SteeringUnit, options: SteerOptions) -> str:
    """The fingerprint of all that determines a trait's steered replies. Not the trait's definition: no reply depends
    on it, and a judge is asked again where it has changed."""
    return fingerprint(
        {
            **_what_pushes(experiment, unit, options),
            "trait": unit.trait.name,
            "questions": list(asked_questions(unit, options)),
            "n_random": options.n_response_random,
        }
    )


def _what_pushes(experiment: Experiment, unit: SteeringUnit, options: SteerOptions) -> dict[str, Any]:
    config = experiment.config
    return {
        **model_settings(experiment.base_spec(config.clean_reader), None),
        "vectors": {vector.path.stem: vector.hash for vector in unit.vectors},
        "layers": list(config.layers),
        "strengths": list(options.strengths),
        "sampling": config.sampling.model_dump(),
        "batch_size": config.batch_size,
        "template": template_settings(),
    }


def provenance_of(experiment: Experiment, unit: SteeringUnit, options: SteerOptions) -> SteeringProvenance:
    trait, config = unit.trait, experiment.config
    variant = config.model_variants[config.clean_reader]
    return SteeringProvenance(
        trait=trait.name,
        model=variant.model,
        revision=variant.revision,
        identity=identity(experiment, unit, options),
        readout="sentences" if trait.sentences else "own-answers",
        items=tuple(each.prompt for each in trait.sentences) or trait.held_out_questions,
        neutral_items=trait.held_out_questions,
        vectors={vector.path.stem: vector.hash for vector in unit.vectors},
        layers=config.layers,
        strengths=options.strengths,
        n_random=options.n_random,
    )


def responses_provenance(experiment: Experiment, unit: SteeringUnit, options: SteerOptions) -> ResponsesProvenance:
    config = experiment.config
    variant = config.model_variants[config.clean_reader]
    return ResponsesProvenance(
        trait=unit.trait.name,
        model=variant.model,
        revision=variant.revision,
        identity=responses_identity(experiment, unit, options),
        questions=asked_questions(unit, options),
        vectors={vector.path.stem: vector.hash for vector in unit.vectors},
        layers=config.layers,
        strengths=options.strengths,
        n_random=options.n_response_random,
        sampling=config.sampling,
    )
