"""The options that the phases share, and the experiment that they describe."""

import argparse
from collections.abc import Sequence
from typing import Any, get_args

from inference.units import CaptureOptions
from inference.vector_files import find_vectors
from interp import cli
from interp.config import DType, Experiment, ExperimentConfig
from interp.records import Sampling, parse_record

KEEP = ("raw", "pooled", "projections")


def model_phase_parser(
    doc: str | None, parents: Sequence[argparse.ArgumentParser], sampling: bool = False
) -> argparse.ArgumentParser:
    """A parser for a script that runs a model."""
    shared = [cli.experiment_options(), cli.work_options(), cli.device_options(), *parents]
    parser = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=[*shared, sampling_options()] if sampling else shared,
    )
    parser.add_argument("--batch-size", type=cli.positive, help="prompts answered at once (default: the config's)")
    return parser


def capture_options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--layers", type=cli.layers_argument, help="0-based, 20,23 or 0-5 (default: the config's)")
    parser.add_argument("--response-only", action="store_true", help="keep the response's tokens, not the prompt's")
    parser.add_argument("--dtype", choices=get_args(DType), default="float16", help="stored as (default: float16)")
    parser.add_argument(
        "--keep",
        choices=KEEP,
        default="raw",
        help="raw: residuals; pooled: their mean over the response; projections: scores on the present vectors only",
    )
    parser.add_argument("--capture-tokens", type=cli.positive, help="padded tokens per pass (default: the config's)")
    return parser


def sampling_options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--max-new-tokens", type=int, help="longest response, in tokens (default: the config's)")
    parser.add_argument("--temperature", type=float, help="0: greedy (default: the config's)")
    parser.add_argument("--top-p", type=float, help="nucleus, 1: off (default: the config's)")
    parser.add_argument("--top-k", type=int, help="0: off (default: the config's)")
    parser.add_argument("--seed", type=int, help="of the random streams (default: the config's)")
    return parser


def read_capture_options(args: argparse.Namespace, experiment: Experiment) -> CaptureOptions:
    """What to keep.

    Raises:
        InputError: projections are to be kept, and there are no vectors to project on.
    """
    vectors = tuple(find_vectors(experiment)) if args.keep == "projections" else ()
    return CaptureOptions(args.response_only, args.dtype, args.keep, vectors)


def read_experiment(args: argparse.Namespace) -> Experiment:
    """The experiment, with what the options say in place of what its config says."""
    experiment = Experiment(args.experiment, args.root)
    config = experiment.config
    sampling = _overridden(config.sampling.model_dump(), args, Sampling)
    given = _overridden(config.model_dump() | {"sampling": sampling}, args, ExperimentConfig)
    experiment.config = parse_record(ExperimentConfig, given, "options")
    return experiment


def _overridden(values: dict[str, Any], args: argparse.Namespace, kind: type) -> dict[str, Any]:
    """`values` with the options of the same names that were given; `dtype` is the stored one there, so not taken."""
    names = set(kind.model_fields) - {"dtype"}  # type: ignore[attr-defined]
    return values | {name: value for name in names if (value := getattr(args, name, None)) is not None}
