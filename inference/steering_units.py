"""The units of steering: a trait with its vectors, and what determines the file that each leaves."""

from dataclasses import dataclass

from inference.units import model_settings
from inference.vector_files import VectorFile
from interp.chat import template_settings
from interp.config import Experiment
from interp.errors import SettingsChanged
from interp.files import is_whole
from interp.manifest import fingerprint
from interp.records import Trait
from interp.steering_store import SteeringProvenance, read_steering_provenance, steering_path


@dataclass(frozen=True)
class SteerOptions:
    """How far is steered, along how many random directions beside each vector, and how much of an answer is scored."""

    strengths: tuple[float, ...]
    n_random: int
    scored_tokens: int


@dataclass(frozen=True)
class SteeringUnit:
    """A trait with the vectors that are steered with."""

    trait: Trait
    vectors: tuple[VectorFile, ...]


def identity(experiment: Experiment, unit: SteeringUnit, options: SteerOptions) -> str:
    """The fingerprint of all that determines a trait's rows."""
    config = experiment.config
    return fingerprint(
        {
            **model_settings(experiment.base_spec(config.clean_reader), None),
            "trait": unit.trait.model_dump(mode="json", exclude={"marker"}),
            "vectors": {vector.path.stem: vector.hash for vector in unit.vectors},
            "layers": list(config.layers),
            "strengths": list(options.strengths),
            "n_random": options.n_random,
            "scored_tokens": options.scored_tokens,
            "sampling": config.sampling.model_dump(),
            "batch_size": config.batch_size,
            "template": template_settings(),
        }
    )


def is_measured(experiment: Experiment, unit: SteeringUnit, options: SteerOptions) -> bool:
    """Whether a trait's file is there.

    Raises:
        SettingsChanged: it was made otherwise.
    """
    path = steering_path(experiment.paths.vectors, unit.trait.name)
    if not is_whole(path):
        return False
    if read_steering_provenance(path).identity != identity(experiment, unit, options):
        raise SettingsChanged(f"{path} was made with another model, trait, vectors or options; use --overwrite")
    return True


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
