"""The options that describe a sweep, and the request that they make."""

import argparse
from pathlib import Path
from typing import Any, get_args

from experiments.concept_injection.request import (
    GRIDS,
    INJECTED,
    Condition,
    StrengthUnit,
    Style,
    SweepRequest,
    VectorToken,
)
from interp import cli
from interp.config import DType
from interp.errors import InputError
from interp.paths import default_root
from interp.records import Sampling, parse_record, read_record

EMBEDDED = "planted_quirks"
"""The name of the tiny chat model that `experiments/planted_quirks` builds."""

_OF_EMBEDDED: dict[str, Any] = {
    "concepts": ("chicken", "clock", "river", "phone"), "baseline": "planted_baseline", "dtype": "float32",
    "threads": 1, "layers": (1, 2, 3, 4), "strengths": (0.5, 1.0, 2.0, 4.0), "trials": 10, "control_trials": 50,
    "sampling": Sampling(max_new_tokens=32, temperature=1.0),
}  # fmt: skip
"""What differs for it: its words, its precision, its size."""


def sweep_options() -> argparse.ArgumentParser:
    """The grid, as a parent parser. Every option left out has the request's own default."""
    parser = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    group = parser.add_argument_group("sweep")
    add = group.add_argument
    add("--request", type=Path, metavar="FILE", help="a request.json; the options below change what it says")
    add("--experiment-id", help="folder of the results")
    add("--model", help=f"3b, 7b, 14b, 32b, {EMBEDDED}, a hub id, or a folder (default: 3b)")
    add("--grid", choices=sorted(GRIDS), help="late: 60 to 75%% of depth, 20 trials; wide: 17%% to near the end, 40")
    add("--concepts", "--concept", nargs="+", help="words (default: celebration ocean fear silence)")
    add("--layers", nargs="+", type=int, help="0-based (default: the grid's shares of depth)")
    add("--strengths", nargs="+", type=float, help="multiples of the unit (default: the grid's)")
    add("--strength-unit", choices=get_args(StrengthUnit), help="a vector's length, or a residual's (default: vector)")
    add("--trials", type=cli.positive, help="per concept, layer, strength and condition (default: the grid's)")
    add("--control-trials", type=cli.positive, help="without injection, shared by all (default: 100)")
    add("--conditions", nargs="+", choices=INJECTED, help="beside the control (default: all three)")
    add("--inject-style", choices=get_args(Style), help="default: generation")
    add("--prompt-version", help="a file of datasets/introspection_prompts (default: v2)")
    add("--max-new-tokens", type=cli.positive, help="of a reply (default: 100)")
    add("--temperature", type=float, help="0: greedy (default: 1)")
    add("--seed", type=int, help="of sampling and of random directions (default: 0)")
    add("--vector-token", choices=get_args(VectorToken), help="whose residual makes a vector (default: reply)")
    add("--no-vector-template", dest="vector_template", action="store_false", help="read words without chat template")
    add("--baseline", help="a word list of datasets/words (default: baseline)")
    add("--no-yes-bias", dest="yes_bias", action="store_false", help="leave the yes-bias questions out")
    add("--batch-size", type=cli.positive, help="trials at once (default: 64)")
    add("--quantization", choices=("nf4", "fp4"), help="4-bit weights (default: none)")
    add("--dtype", choices=get_args(DType), help="of weights and computation (default: bfloat16)")
    add("--threads", type=cli.positive, help="CPU threads; part of the settings (default: all cores)")
    parser.add_argument("--root", type=Path, default=default_root(), help="default: $INTERP_ROOT or experiments/")
    return parser


def read_request(args: argparse.Namespace) -> SweepRequest:
    """The request that the options describe.

    Raises:
        InputError: it makes no sense, no experiment is named, or the embedded model is not built.
    """
    given = {name: value for name, value in vars(args).items() if name in SweepRequest.model_fields}
    base = read_record(SweepRequest, args.request).model_dump() if "request" in args else {}
    if "experiment_id" not in given and not base:
        raise InputError("name the sweep: --experiment-id NAME")
    if given.get("model") == EMBEDDED:
        base |= {**_OF_EMBEDDED, "source": str(_embedded_model(args.root))}
    if "grid" in args:
        base |= GRIDS[args.grid] | {"layers": ()}
    sampling = {**_dumped(base.get("sampling", SweepRequest.model_fields["sampling"].default)), **_sampling_of(args)}
    if "quantization" in given:
        given["quantization"] = {"weights": given["quantization"]}
    return parse_record(SweepRequest, {**base, **given, "sampling": sampling}, "the sweep's options")


def _sampling_of(args: argparse.Namespace) -> dict[str, Any]:
    return {name: value for name, value in vars(args).items() if name in Sampling.model_fields}


def _dumped(sampling: Any) -> dict[str, Any]:
    return dict(sampling.model_dump() if isinstance(sampling, Sampling) else sampling)


def _embedded_model(root: Path) -> Path:
    folder = root / EMBEDDED / "models" / "base"
    if not (folder / "config.json").exists():
        raise InputError(f"{folder} is not there: build it with `python -m experiments.planted_quirks.build`")
    return folder


assert set(get_args(Condition)) > set(INJECTED)
