"""Whether trait vectors cause their trait: how likely the steered model finds text that shows it, and text without it.

Reads   vectors/<trait>/<method>.safetensors, traits/<trait>.json
Writes  vectors/<trait>/steering.parquet: for every vector, layer and strength the mean log-probability per token
        vectors/<trait>/steered_responses.parquet, with --responses: what the steered model answers, for a judge

No judge is asked here. The sentences of the trait file that show the trait, and their twins that lack it, are scored as
replies to their prompts. A trait without sentences is read on the clean model's own answers to the held-out questions,
under an eliciting system prompt and under its neutral twin, scored without any system prompt. The neutral answers also
tell what steering costs in coherence. Random directions of the same length are the control.

Example: python inference/steer_with_vectors.py --experiment audit-bleachers --traits flattery --skip-existing
"""

import argparse
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from inference.options import model_phase_parser, read_experiment, sampling_options
from inference.steering_units import Piece, SteeringUnit, SteerOptions, asked_questions, is_made, provenance_of
from inference.units import refuse_existing
from inference.vector_files import find_vectors
from interp import cli
from interp.config import Experiment
from interp.errors import InputError
from interp.files import sweep_leftovers
from interp.leases import Leases
from interp.sharing import HowToShare, SharedWork
from interp.steering_store import STEERED, Steering, save_steering
from interp.stopping import stop_on_signals

if TYPE_CHECKING:
    from interp.models import LanguageModel

log = logging.getLogger(__name__)

STRENGTHS = (-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0)


def measure(experiment: Experiment, unit: SteeringUnit, options: SteerOptions, model: "LanguageModel") -> None:
    """Score every text under every push and save the rows."""
    import pyarrow as pa

    from inference.steered_scoring import Passage, mean_log_probabilities, planned_pushes
    from inference.steered_texts import texts_to_score

    planned = planned_pushes(experiment, unit, options)
    pushes = [push for _, push in planned]
    scores: dict[Passage, list[float]] = {}
    rows: list[dict[str, Any]] = []
    for text, passage in texts_to_score(experiment, unit.trait, options, model):
        if passage not in scores:
            scores[passage] = mean_log_probabilities(model, passage, pushes, experiment.config.batch_size)
        for (push, _), value in zip(planned, scores[passage], strict=True):
            rows.append({**push, **text, "log_probability": value})
    provenance = provenance_of(experiment, unit, options)
    save_steering(experiment.paths.vectors, Steering(pa.Table.from_pylist(rows, STEERED), provenance))


def make(experiment: Experiment, piece: Piece, options: SteerOptions, model: "LanguageModel") -> None:
    """Make a piece's file."""
    from inference.steered_responses import respond

    (measure if piece.kind == "steer" else respond)(experiment, piece.unit, options, model)


def steer_all(
    experiment: Experiment, units: Sequence[SteeringUnit], options: SteerOptions, args: argparse.Namespace
) -> None:
    """Make the files of every trait that are not there yet."""
    pieces = [Piece(kind, unit) for unit in units for kind in options.kinds]
    work = [piece for piece in pieces if args.overwrite or not is_made(experiment, piece, options)]
    log.info("steer: %d of %d files pending", len(work), len(pieces))
    if args.dry_run:
        for piece in work:
            print(plan_line(piece, options))
        return
    if len(work) < len(pieces) and not (args.skip_existing or args.overwrite):
        there = next(piece for piece in pieces if piece not in work)
        refuse_existing(str(experiment.paths.vectors / "*" / there.path(experiment).name))
    if work:
        _make_pending(experiment, work, options, args)


def plan_line(piece: Piece, options: SteerOptions) -> str:
    """What would be made, for people."""
    methods = " ".join(vector.path.stem for vector in piece.unit.vectors)
    asked = f" {len(asked_questions(piece.unit, options))} questions" if piece.kind == "respond" else ""
    return f"{piece.kind} {piece.unit.trait.name} {methods}{asked}"


def _make_pending(
    experiment: Experiment, work: Sequence[Piece], options: SteerOptions, args: argparse.Namespace
) -> None:
    from inference.devices import load_clean_reader

    sweep_leftovers(experiment.paths.vectors)
    model = load_clean_reader(experiment, args.device, args.threads)
    progress = cli.Progress("steer", len(work), "files")
    how = HowToShare[Piece](
        key=lambda piece: piece.key,
        affinity=lambda piece: (piece.unit.trait.name,),
        is_done=lambda piece: not args.overwrite and is_made(experiment, piece, options),
    )
    with stop_on_signals(args.warning_seconds) as stop, Leases(experiment.paths.leases, args.lease_seconds) as leases:
        SharedWork(work, how, leases).do_all(
            lambda piece: make(experiment, piece, options, model), lambda piece: piece.key, progress, stop
        )


def _strengths(text: str) -> tuple[float, ...]:
    """An option's comma-separated strengths, sorted, each once; 0 is always among them."""
    try:
        return tuple(sorted({0.0, *map(float, cli.names(text))}))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no list of numbers") from None


def _count(text: str) -> int:
    """An option's number, 0 among them."""
    return 0 if text == "0" else cli.positive(text)


def build_parser() -> argparse.ArgumentParser:
    parser = model_phase_parser(__doc__, [sampling_options()])
    parser.add_argument("--traits", type=cli.names, help="names (default: all that have vectors)")
    parser.add_argument("--layers", type=cli.layers_argument, help="0-based (default: the config's)")
    parser.add_argument("--methods", type=cli.names, help="of the vectors (default: all that there are)")
    parser.add_argument(
        "--strengths", type=_strengths, default=STRENGTHS, metavar="A,B",
        help=f"of the vector; write --strengths=-1,1 (default: {','.join(f'{each:g}' for each in STRENGTHS)})",
    )
    parser.add_argument(
        "--random-directions", type=cli.positive, default=10, metavar="N",
        help="of the same length beside each vector, drawn from --seed (default: 10; fewer prove nothing at 0.05)",
    )
    parser.add_argument(
        "--scored-tokens", type=cli.positive, default=64, metavar="N",
        help="of the model's own answers, at most (default: 64)",
    )
    parser.add_argument(
        "--responses", type=_count, default=0, metavar="N",
        help="also answer N held-out questions of each trait under every push, for a judge (default: 0, none)",
    )
    parser.add_argument(
        "--response-random-directions", type=cli.positive, default=1, metavar="N",
        help="random directions beside each vector under which they are answered (default: 1)",
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    experiment = read_experiment(args)
    options = SteerOptions(
        args.strengths, args.random_directions, args.scored_tokens, args.responses, args.response_random_directions
    )
    if not any(options.strengths):
        raise InputError("--strengths has nothing but 0: that is no steering")
    files = find_vectors(experiment, args.traits, args.methods)
    names = args.shard.of(sorted({file.path.parent.name for file in files}))
    units = [
        SteeringUnit(experiment.trait(name), tuple(file for file in files if file.path.parent.name == name))
        for name in names
    ]
    steer_all(experiment, units, options, args)
    return 0


if __name__ == "__main__":
    cli.run(main)
