"""Run one task of a sweep on Google Cloud Batch: the container's program.

Reads   the environment: SWEEP_REQUEST (JSON), SWEEP_STORE (gs://…), SWEEP_UPLOAD_EVERY (trials), BATCH_TASK_INDEX and
        BATCH_TASK_COUNT (Batch sets them: which share of the request's files), SWEEP_DEVICE (default: cuda)
Writes  the store, and a temporary folder that is gone at the end

Every task begins with an empty disk, fetches what earlier attempts have stored, does the rest, and stores that every
so many trials. The exit status says whether starting it again helps:

    0             done
    75            taken away (SIGTERM), or the store failed after it had answered: the next attempt goes on from there
    2, 3, 5, 7 …  final: a wrong request, another request's destination, no such model, no access

Example: SWEEP_REQUEST="$(cat request.json)" SWEEP_STORE=gs://bucket/sweeps SWEEP_UPLOAD_EVERY=50 BATCH_TASK_INDEX=0 \
         BATCH_TASK_COUNT=5 python -m experiments.concept_injection.cloud_batch.entry_point --judge gpt-5-mini
"""

import argparse
import json
import logging
import signal
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import environ
from pathlib import Path
from types import FrameType

from experiments.concept_injection import sweep
from experiments.concept_injection.cloud_batch.job import REQUEST, STORE, UPLOAD_EVERY
from experiments.concept_injection.destination import Destination
from experiments.concept_injection.request import SweepRequest
from interp import cli
from interp.errors import InputError, Stopped
from interp.files import write_text
from interp.judges.options import judge_options
from interp.records import parse_record
from interp.stores import StoreError, open_store
from interp.work import Shard

log = logging.getLogger(__name__)

INDEX, COUNT, DEVICE = "BATCH_TASK_INDEX", "BATCH_TASK_COUNT", "SWEEP_DEVICE"


@dataclass(frozen=True)
class Task:
    """What the environment asks for; `share` of the request's files is this task's."""

    request: SweepRequest
    store_url: str
    upload_every: int
    share: Shard
    device: str

    @classmethod
    def read(cls, variables: Mapping[str, str]) -> "Task":
        """
        Raises:
            InputError: something is missing or wrong; says which variable.
        """
        missing = [name for name in (REQUEST, STORE, UPLOAD_EVERY, INDEX, COUNT) if not variables.get(name)]
        if missing:
            raise InputError(f"not started by Batch: {', '.join(missing)} missing from the environment")
        return cls(
            parse_request(variables[REQUEST]), variables[STORE], _positive(UPLOAD_EVERY, variables[UPLOAD_EVERY]),
            Shard.parse(f"{variables[INDEX]}/{variables[COUNT]}"), variables.get(DEVICE) or "cuda",
        )  # fmt: skip

    @property
    def files(self) -> list[str]:
        return self.share.of(self.request.files)


def parse_request(text: str) -> SweepRequest:
    """
    Raises:
        InputError: it is no JSON, or no sweep.
    """
    try:
        value = json.loads(text)
    except ValueError:
        raise InputError(f"{REQUEST} is no JSON: submit the job anew") from None
    return parse_record(SweepRequest, value, REQUEST)


def run_task(task: Task, judge_flags: Sequence[str]) -> None:
    """Do what is left of a task's files.

    Raises:
        Stopped: it is worth starting again: the machine is being taken away, or the store failed on the way.
        InterpError: it is not.
    """
    with tempfile.TemporaryDirectory(prefix="sweep-") as disk:
        destination = Destination.of(open_store(task.store_url), task.request, Path(disk))
        destination.claim(task.request)
        try:
            destination.fetch_finished(task.files)
            sweep.run_sweep(task.request, Path(disk), _sweep_args(task, Path(disk), judge_flags))
            destination.keep_vectors()
        except StoreError as error:
            raise Stopped(f"{error}; the next attempt goes on from what is stored") from error


def _sweep_args(task: Task, disk: Path, judge_flags: Sequence[str]) -> argparse.Namespace:
    """The options of a sweep that runs here."""
    request = disk / "request.json"
    write_text(request, task.request.model_dump_json())
    return sweep.build_parser().parse_args([
        "--local", "--request", str(request), "--root", str(disk), "--store", task.store_url,
        "--upload-every", str(task.upload_every), "--shard", f"{task.share.index}/{task.share.count}",
        "--device", task.device, *judge_flags,
    ])  # fmt: skip


def check_device(device: str) -> None:
    """See that the GPU is there: a model of billions of parameters must not begin on a CPU unnoticed.

    Raises:
        InputError: no GPU can be used.
    """
    if device.startswith("cuda"):
        import torch

        if not torch.cuda.is_available():
            built = torch.version.cuda or "none"
            raise InputError(
                f"no GPU can be used in this container (torch is built for CUDA {built}): its driver may be too old; "
                "submit with --driver-version, or build the image with another TORCH_INDEX"
            )


def _positive(name: str, text: str) -> int:
    try:
        return cli.positive(text)
    except argparse.ArgumentTypeError as error:
        raise InputError(f"{name}: {error}") from None


def _stop(number: int, _: FrameType | None) -> None:
    raise Stopped(f"stopped by {signal.Signals(number).name} before or after the work; the next attempt goes on")


def main(argv: Sequence[str] | None = None) -> int:
    signal.signal(signal.SIGTERM, _stop)  # the first process of a container has no other way to hear of it
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, parents=[judge_options()]
    )
    flags = list(sys.argv[1:] if argv is None else argv)
    parser.parse_args(flags)
    task = Task.read(environ)
    log.info("task %d of %d: %s", task.share.index, task.share.count, ", ".join(task.files))
    check_device(task.device)
    run_task(task, flags)
    return 0


if __name__ == "__main__":
    cli.run(main)
