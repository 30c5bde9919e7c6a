"""Run a sweep on Modal: a GPU for the control and one for each concept, started here and left alone.

Reads   the store, and the app that was deployed with `modal deploy -m experiments.concept_injection.modal_app`
Writes  <root>/concept_injection/<experiment id>/<model>/{request.json, spawned.json}; the calls write to the store

A destination in the store that has files is refused unless --force says to go on from them. `--status` asks what has
become of the calls, from any machine that has spawned.json.

Example: python -m experiments.concept_injection.spawn_sweep --experiment-id first --model 7b --store gs://bucket/sweeps
         python -m experiments.concept_injection.spawn_sweep --experiment-id first --model 7b --status
"""

import argparse
import os
from collections.abc import Collection, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from experiments.concept_injection import shipped
from experiments.concept_injection.machines import GPUS, Gpu, cost_table, gpu_of
from experiments.concept_injection.options import read_request, sweep_options
from experiments.concept_injection.paths import SweepPaths
from experiments.concept_injection.prompts import check_baseline, read_prompt, read_words
from experiments.concept_injection.request import SweepRequest
from experiments.concept_injection.spawned import (
    DEPLOY,
    Spawned,
    SpawnedCall,
    call_states,
    claim_destination,
    modal_errors,
    read_spawned,
    stored_sizes,
)
from experiments.concept_injection.sweep import prepare
from interp import cli
from interp.errors import InputError
from interp.judges.options import judge_options
from interp.stores import open_store

APP = "concept-injection"
FUNCTIONS = {"L4": "run_l4", "A100-40GB": "run_a100_40gb", "A100-80GB": "run_a100_80gb", "H100": "run_h100"}
"""Of the app, by GPU."""

_HERE_ONLY = {"prices"}
"""Options of a judge that name a file of this machine."""


def options_of(args: argparse.Namespace) -> dict[str, Any]:
    """What a call is told besides the request, by the names of sweep.py's options.

    Raises:
        InputError: an option names a file that containers do not have.
    """
    if args.prices is not None:
        raise InputError("--prices names a file of this machine: write the price into datasets/rubrics/prices.json")
    names = set(vars(judge_options().parse_args([]))) - _HERE_ONLY
    return {name: getattr(args, name) for name in sorted({*names, "upload_every", "device"})}


def check_request(request: SweepRequest) -> None:
    """
    Raises:
        InputError: an unknown prompt version or word list, a concept among the baseline words.
    """
    read_prompt(request.prompt_version)
    check_baseline(read_words(request.baseline), request.concepts, request.baseline)


def check_reachable(request: SweepRequest, url: str) -> None:
    """
    Raises:
        InputError: the model or the store is a folder of this machine.
    """
    if Path(request.model_id).is_dir():
        raise InputError(
            f"{request.model_id} is a folder of this machine, which no container sees: put it on the volume "
            "(`modal volume put concept-injection-weights FOLDER /NAME`) and give --model /weights/NAME --gpu …"
        )
    if not url.startswith(("gs://", "s3://")):
        raise InputError(f"--store {url}: a folder is lost with its container: give gs://bucket/prefix or s3://…")


def check_code() -> str:
    """The hash of the deployed code, which is this checkout's.

    Raises:
        InputError: nothing is deployed, or other code is.
        ServiceUnavailable: Modal cannot be reached or refuses.
    """
    import modal

    here = shipped.code_hash()
    with modal_errors():
        there = str(modal.Function.from_name(APP, "code_hash").remote())
    if there != here:
        raise InputError(f"the deployed app has other code ({there}) than is here ({here}); deploy again: {DEPLOY}")
    return here


def check_idle(paths: SweepPaths) -> None:
    """
    Raises:
        InputError: calls that were spawned before are still at work.
    """
    before = read_spawned(paths)
    running = [each for each in call_states(before.calls) if each.state == "running"] if before else []
    if running:
        names = ", ".join(each.call.file for each in running)
        raise InputError(f"{names}: still running since the last spawn; wait, or end it: modal app stop {APP}")


def files_left(request: SweepRequest, stored: Collection[str], judged: bool) -> list[str]:
    """The files that are not finished in a store that holds `stored`.

    What a file's calls store last is its log-odds. Whether all its lines are judged cannot be seen from there.
    """
    return [name for name in request.files if judged or f"{name}.log_odds.jsonl" not in stored]


def spawn(
    request: SweepRequest, names: Sequence[str], paths: SweepPaths, gpu: Gpu, spawned: Spawned, options: dict[str, Any]
) -> Spawned:
    """Start a call for each file and wait for none; what was started is on the disk after each."""
    import modal

    with modal_errors():
        function = modal.Function.from_name(APP, FUNCTIONS[gpu.name])
        for name in names:
            call = function.spawn(request.model_dump_json(), [name], spawned.store, options)
            made = SpawnedCall(file=name, function=FUNCTIONS[gpu.name], gpu=gpu.name, call_id=call.object_id)
            spawned = spawned.with_call(made)
            spawned.save(paths)
            print(f"{name:<16}{made.function}  {made.call_id}")
    return spawned


def start(request: SweepRequest, args: argparse.Namespace) -> None:
    """Check everything that can be checked, print what it may cost, then spawn."""
    paths, gpu, options = SweepPaths.of(args.root, request), gpu_of(request, args.gpu), options_of(args)
    check_request(request)
    check_reachable(request, args.store)
    table = cost_table(request, "modal", args.gpu).text()
    if args.dry_run:
        print(f"{table}\nwould spawn {', '.join(request.files)}; each into {args.store}/{paths.stored('')}")
        return
    store = open_store(args.store)
    spawned = Spawned(app=APP, store=args.store, code_hash=check_code())
    check_idle(paths)
    claim_destination(store, request, args.force)
    names = files_left(request, stored_sizes(store, paths), judged=args.judge is not None)
    if not names:
        print(f"all files are finished in {args.store}/{paths.stored('')}")
        return
    prepare(request, args.root)
    print(table, flush=True)
    spawn(request, names, paths, gpu, spawned, options)
    print(_how_to_follow(request, args))


def _how_to_follow(request: SweepRequest, args: argparse.Namespace) -> str:
    where = f"--experiment-id {request.experiment_id} --model {request.model} --root {args.root}"
    return (
        f"follow:   python -m experiments.concept_injection.spawn_sweep {where} --status\n"
        f"logs:     modal app logs {APP}, or https://modal.com/apps\n"
        f"end it:   modal app stop {APP}"
    )


def print_status(paths: SweepPaths) -> int:
    """A line per call, then what the store holds; 1 where a call has failed."""
    spawned = read_spawned(paths)
    if spawned is None:
        raise InputError(f"{paths.folder} has no spawned.json: nothing was spawned from here")
    states = call_states(spawned.calls)
    for each in states:
        print(each.line())
    print(f"in {spawned.store}/{paths.stored('')}")
    for name, size in stored_sizes(open_store(spawned.store), paths).items():
        print(f"  {name:<32}{size:>12,} bytes")
    return int(any(each.state == "failed" for each in states))


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=[sweep_options(), judge_options()],
    )
    add = parser.add_argument
    store = os.environ.get("INTERP_STORE")
    add("--store", metavar="URL", default=store, help="gs://… or s3://… (default: $INTERP_STORE)")
    add("--upload-every", type=cli.positive, default=50, metavar="N", help="trials between uploads (default: 50)")
    add("--gpu", choices=GPUS, help="default: by the model's size (3b, 7b: L4; 14b: A100-40GB; 32b: A100-80GB)")
    add("--device", default="cuda", help="in the container (default: cuda, and an error where there is none)")
    add("--force", action="store_true", help="go on from what the store holds of this very request")
    add("--dry-run", action="store_true", help="print what would be spawned and what it may cost; asks nobody")
    add("--status", action="store_true", help="print what has become of the calls")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    request = read_request(args)
    if find_spec("modal") is None:
        raise InputError("the modal client is not installed: pip install -r requirements.txt")
    if args.status:
        return print_status(SweepPaths.of(args.root, request))
    if not args.store:
        raise InputError("say where results go: --store gs://bucket/prefix (or s3://…), or set INTERP_STORE")
    start(request, args)
    return 0


if __name__ == "__main__":
    cli.run(main)
