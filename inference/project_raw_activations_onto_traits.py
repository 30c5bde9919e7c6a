"""Phase 3: token by token, how far both readers' residuals reach along every trait vector. No GPU.

Reads   inference/<author>/activations/<prompt_set>/<reader>/<id>.pt and vectors/<trait>/<method>.safetensors
Writes  inference/<author>/projections/<prompt_set>/<reader>.parquet, and <reader>.norms.parquet beside it

New vectors are added to what is there; nothing is computed twice.

Example: python inference/project_raw_activations_onto_traits.py --experiment audit-bleachers --skip-existing
"""

import argparse
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inference.options import read_experiment
from inference.plan import read_shape
from inference.units import Inventory, refuse_existing
from inference.vector_files import VectorFile, find_vectors
from interp import cli
from interp.config import Experiment
from interp.errors import InputError, SettingsChanged
from interp.files import is_whole, json_bytes, sweep_leftovers, write_many
from interp.leases import Leases
from interp.manifest import read_fingerprint, read_made_with
from interp.paths import OWN_READER
from interp.records import PromptSet
from interp.sharing import HowToShare, SharedWork
from interp.stopping import stop_on_signals

if TYPE_CHECKING:
    import pyarrow as pa

    from inference.scoring import Scorer

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Reading:
    """What one reader read of one author's responses to one prompt set: the unit of this phase."""

    author: str
    prompt_set: PromptSet
    reader: str

    @property
    def key(self) -> tuple[str, str, str]:
        return self.author, self.prompt_set.name, self.reader


def plan_readings(
    experiment: Experiment, authors: Sequence[str], prompt_sets: Sequence[PromptSet], readers: Sequence[str]
) -> list[Reading]:
    return [Reading(author, each, reader) for author in authors for each in prompt_sets for reader in readers]


def incomplete(experiment: Experiment, readings: Sequence[Reading]) -> list[Reading]:
    """The readings that lack activation files."""
    inventory = Inventory()
    folders = {reading: experiment.paths.activations(*reading.key) for reading in readings}
    return [reading for reading in readings if inventory.missing(folders[reading], reading.prompt_set.prompts, ".pt")]


def missing_vectors(experiment: Experiment, reading: Reading, vectors: Sequence[VectorFile]) -> list[VectorFile]:
    """The vectors that a reading has no scores for.

    Raises:
        SettingsChanged: it has scores of other activations, or of a vector that has changed since.
    """
    path = experiment.paths.projections(*reading.key)
    if not (is_whole(path) and is_whole(experiment.paths.norms(*reading.key))):
        return list(vectors)
    from interp.projections import read_settings, read_table

    if read_settings(path) != read_fingerprint(experiment.paths.activations(*reading.key)):
        raise SettingsChanged(f"{path} was made from other activations; make it again with --overwrite")
    columns = read_table(path, ["trait", "method", "vector"]).group_by(["trait", "method", "vector"]).aggregate([])
    known = {(row["trait"], row["method"]): row["vector"] for row in columns.to_pylist()}
    changed = [vector.path for vector in vectors if known.get(vector.name, vector.hash) != vector.hash]
    if changed:
        raise SettingsChanged(f"{path} has scores of an earlier {changed[0]}; project again with --overwrite")
    return [vector for vector in vectors if vector.name not in known]


def project_reading(experiment: Experiment, reading: Reading, scorer: "Scorer", keep: "pa.Table | None") -> None:
    """Score one reading and write its files; `keep` are rows of other vectors to hold on to."""
    import pyarrow as pa

    from inference.scoring_summaries import score_summaries
    from interp.projections import write_norms, write_scores

    folder = experiment.paths.activations(*reading.key)
    settings = read_fingerprint(folder) or ""
    prompt_ids = [prompt.id for prompt in reading.prompt_set.prompts]
    kept = read_made_with(folder).get("keep", "raw")
    scored = scorer.score(folder, prompt_ids) if kept == "raw" else score_summaries(scorer, folder, prompt_ids)
    write_norms(experiment.paths.norms(*reading.key), scored.norms, settings)
    rows = scored.scores if keep is None else pa.concat_tables([keep, scored.scores])
    write_scores(experiment.paths.projections(*reading.key), rows, settings)


def write_json_copies(experiment: Experiment, reading: Reading) -> None:
    """One JSON per response and trait: `<reader>/<trait>/<id>.json`, for tools that read nothing else."""
    from interp.projections import read_table

    path = experiment.paths.projections(*reading.key)
    found: dict[Path, list[dict[str, Any]]] = {}
    for row in read_table(path).to_pylist():
        target = path.with_suffix("") / row["trait"] / f"{row['prompt_id']}.json"
        found.setdefault(target, []).append({key: row[key] for key in ("method", "layer", "mean", "cosine", "scores")})
    write_many({target: json_bytes({"projections": rows}) for target, rows in found.items()})


def project_all(experiment: Experiment, readings: Sequence[Reading], vectors: Sequence[VectorFile], args: Any) -> None:
    """Project every complete reading onto what it lacks."""
    left_out = set(incomplete(experiment, readings))
    work = list(_work(experiment, [each for each in readings if each not in left_out], vectors, args))
    log.info("project: %d of %d readings pending", len(work), len(readings) - len(left_out))
    if args.dry_run:
        for reading, lacking in work:
            print("project", *reading.key, f"onto {len(lacking)} vectors")
        return
    if work:
        _do_work(experiment, work, args)
    if args.json:
        for reading in readings:
            write_json_copies(experiment, reading)
    if left_out:
        names = ", ".join("/".join(reading.key) for reading in sorted(left_out, key=lambda each: each.key)[:5])
        raise InputError(f"{len(left_out)} readings lack activation files ({names}): finish phases 1 and 2 first")


def _work(
    experiment: Experiment, readings: Sequence[Reading], vectors: Sequence[VectorFile], args: Any
) -> Iterator[tuple[Reading, list[VectorFile]]]:
    for reading in readings:
        path = experiment.paths.projections(*reading.key)
        if path.exists() and not (args.skip_existing or args.overwrite or args.dry_run):
            refuse_existing(str(path))
        _refuse_readings_of_other_responses(experiment, reading)
        lacking = list(vectors) if args.overwrite else missing_vectors(experiment, reading, vectors)
        if lacking:
            yield reading, lacking


def _refuse_readings_of_other_responses(experiment: Experiment, reading: Reading) -> None:
    folder = experiment.paths.activations(*reading.key)
    responses = experiment.paths.responses(reading.author, reading.prompt_set.name)
    if read_made_with(folder).get("responses") != read_fingerprint(responses):
        raise SettingsChanged(f"{folder} was read from other responses; read those of now with --overwrite")


def _do_work(experiment: Experiment, work: Sequence[tuple[Reading, list[VectorFile]]], args: Any) -> None:
    from inference.scoring import Scorer
    from interp.models import set_threads

    set_threads(args.threads or experiment.config.threads)
    shape = read_shape(experiment, experiment.base_spec(experiment.config.clean_reader))
    d_model = shape["d_model"] if shape else None
    scorers: dict[tuple[VectorFile, ...], Scorer] = {}
    progress = cli.Progress("project", len(work), "readings")
    how = HowToShare[tuple[Reading, list[VectorFile]]](
        key=lambda each: "/".join(("project", *each[0].key)),
        affinity=lambda each: (each[0].author,),
        is_done=lambda each: not (args.overwrite or missing_vectors(experiment, *each)),
    )

    def project(each: tuple[Reading, list[VectorFile]]) -> None:
        reading, planned = each
        sweep_leftovers(experiment.paths.projections(*reading.key).parent)
        keep = None if args.overwrite else _rows_there(experiment, reading)
        lacking = tuple(vector for vector in planned if keep is None or vector.name not in _names(keep))
        if lacking not in scorers:
            scorers[lacking] = Scorer({file.path: file.hash for file in lacking}, experiment.config.layers, d_model)
        project_reading(experiment, reading, scorers[lacking], keep)

    with stop_on_signals(args.warning_seconds) as stop, Leases(experiment.paths.leases, args.lease_seconds) as leases:
        SharedWork(work, how, leases).do_all(project, lambda each: " ".join(each[0].key), progress, stop)


def _rows_there(experiment: Experiment, reading: Reading) -> "pa.Table | None":
    """The rows of a reading's file as it is now: another worker may have written it since the work was planned."""
    from interp.projections import read_table

    path = experiment.paths.projections(*reading.key)
    return read_table(path) if is_whole(path) and is_whole(experiment.paths.norms(*reading.key)) else None


def _names(rows: "pa.Table") -> set[tuple[str, str]]:
    """The (trait, method) that rows are of."""
    found = rows.group_by(["trait", "method"]).aggregate([]).to_pylist()
    return {(row["trait"], row["method"]) for row in found}


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=[cli.experiment_options(), cli.work_options()],
    )
    parser.add_argument("--reader", type=cli.names, help="readers (default: self and the config's clean_reader)")
    parser.add_argument("--traits", type=cli.names, help="traits (default: all that have vectors)")
    parser.add_argument("--methods", type=cli.names, help="methods (default: all)")
    parser.add_argument("--layers", type=cli.layers_argument, help="0-based (default: the config's)")
    parser.add_argument("--threads", type=cli.positive, help="CPU threads (default: the config's, else all cores)")
    parser.add_argument("--json", action="store_true", help="also write one JSON per response and trait")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    experiment = read_experiment(args)
    readers = args.reader or [OWN_READER, experiment.config.clean_reader]
    vectors = find_vectors(experiment, args.traits, args.methods)
    prompt_sets = experiment.select_prompt_sets(args.prompt_set)
    readings = plan_readings(experiment, experiment.select_variants(args.model_variant), prompt_sets, readers)
    project_all(experiment, args.shard.of(readings), vectors, args)
    return 0


if __name__ == "__main__":
    cli.run(main)
