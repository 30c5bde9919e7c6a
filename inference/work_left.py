"""How much of an audit is left to do, counted from the files on disk. Loads nothing."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from inference.extract_trait_vectors import METHOD_NAMES
from inference.plan import Plan
from inference.project_raw_activations_onto_traits import missing_vectors, plan_readings
from inference.units import Inventory, Unit, plan_units
from inference.vector_files import find_vectors
from interp.config import Experiment
from interp.paths import OWN_READER
from interp.vector_store import list_vectors, vector_path


@dataclass(frozen=True)
class WorkLeft:
    """Counts of what is left; `build`: models of the experiment's own that are still to be made."""

    traits: int
    generate_batches: int
    replay_batches: int
    readings: int
    build: bool = False
    analysis: bool = True


def work_left(experiment: Experiment, plan: Plan) -> WorkLeft:
    """What is left: whole batches, as phases 1 and 2 do them; every reading while there are vectors to come."""
    units = plan_units(experiment, plan.authors, plan.prompt_sets)
    inventory = Inventory()
    traits = _traits_left(experiment)
    to_come = traits or not list_vectors(experiment.paths.vectors)
    readings = len(_tables(experiment, units)) if to_come else _readings_left(experiment, plan)
    return WorkLeft(
        traits=traits,
        generate_batches=sum(_unanswered(experiment, unit, inventory) for unit in units),
        replay_batches=sum(_unread(experiment, unit, experiment.config.clean_reader, inventory) for unit in units),
        readings=readings,
        build=_build_left(experiment, plan),
        analysis=readings > 0 or _analysis_left(experiment, units),
    )


def _unanswered(experiment: Experiment, unit: Unit, inventory: Inventory) -> bool:
    """Whether a batch lacks a response, or its author's own reading of one."""
    folder = experiment.paths.responses(*unit.folder_key)
    return bool(inventory.missing(folder, unit.prompts, ".json")) or _unread(experiment, unit, OWN_READER, inventory)


def _unread(experiment: Experiment, unit: Unit, reader: str, inventory: Inventory) -> bool:
    folder = experiment.paths.activations(*unit.folder_key, reader)
    return bool(inventory.missing(folder, unit.prompts, ".pt"))


def _traits_left(experiment: Experiment) -> int:
    """Traits that lack a vector by some method."""
    folder = experiment.paths.vectors
    return sum(
        not all(vector_path(folder, trait, method).exists() for method in METHOD_NAMES)
        for trait in experiment.paths.trait_names
    )


def _tables(experiment: Experiment, units: Iterable[Unit]) -> list[list[Path]]:
    """The files of every reading: scores and norms."""
    paths, readers = experiment.paths, (OWN_READER, experiment.config.clean_reader)
    keys = dict.fromkeys(unit.folder_key for unit in units)
    return [[paths.projections(*key, reader), paths.norms(*key, reader)] for key in keys for reader in readers]


def _readings_left(experiment: Experiment, plan: Plan) -> int:
    """Readings that lack scores on some vector, as phase 3 sees it."""
    readers = [OWN_READER, experiment.config.clean_reader]
    readings = plan_readings(experiment, plan.authors, plan.prompt_sets, readers)
    vectors = find_vectors(experiment)
    return sum(bool(missing_vectors(experiment, reading, vectors)) for reading in readings)


def _analysis_left(experiment: Experiment, units: Sequence[Unit]) -> bool:
    """Whether an analysis, or the report over them, is not there, or is older than the scores."""
    names = ["", "compare_readers", *sorted({f"top_activating/{unit.prompt_set.name}" for unit in units})]
    notes = [experiment.paths.analysis / name / "_made_from.json" for name in names]
    newest = _newest(files[0] for files in _tables(experiment, units))
    return any(not note.exists() or note.stat().st_mtime < newest for note in notes)


def _newest(paths: Iterable[Path]) -> float:
    return max((path.stat().st_mtime for path in paths if path.exists()), default=0.0)


def _build_left(experiment: Experiment, plan: Plan) -> bool:
    """Whether models that lie beside config.json are still to be made."""
    names = [*plan.authors, experiment.config.clean_reader]
    adapters = [experiment.adapter_spec(name) for name in names]
    sources = {experiment.base_spec(name).model for name in names} | {each.adapter for each in adapters if each}
    own = [Path(source) for source in sources if Path(source).is_relative_to(experiment.paths.home)]
    return any(not list(folder.glob("*.safetensors")) for folder in own)
