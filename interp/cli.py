"""What all scripts share: options, errors as one line, logs and progress."""

import argparse
import logging
import os
import re
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from interp.errors import InputError, InterpError
from interp.layers import parse_layers
from interp.leases import LEASE_SECONDS
from interp.paths import default_root
from interp.stopping import WARNING_SECONDS
from interp.work import Shard

log = logging.getLogger(__name__)


def run(main: Callable[[], int]) -> None:
    """Run a script's `main` and end the process: 0, or the error's status and one line on stderr."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # spinning threads ruin one another on a shared machine
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("HF_HUB_VERBOSITY", "critical")  # its errors reach the user as one line of ours
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)
    for noisy in ("bitsandbytes", "httpx", "huggingface_hub", "transformers", "urllib3"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    try:
        status = main()
        sys.stdout.flush()
    except InterpError as error:
        print(f"error: {error}", file=sys.stderr)
        status = error.exit_status
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 141
    sys.exit(status)


def names(text: str) -> list[str]:
    """An option's comma-separated names."""
    return [name.strip() for name in text.split(",") if name.strip()]


def positive(text: str) -> int:
    """An option's number, at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 on")
    return int(text)


def seconds_argument(text: str) -> float:
    """An option's time, in seconds, above 0."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds above 0")
    return seconds


def _or_argument_error(parse: Callable[[str], object]) -> Callable[[str], object]:
    """argparse drops the text of other errors."""

    def parse_argument(text: str) -> object:
        try:
            return parse(text)
        except InputError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return parse_argument


layers_argument = _or_argument_error(parse_layers)


def _parse_shard(text: str) -> Shard:
    """`i/n`, or `array`: the share of this element of a SLURM array."""
    if text != "array":
        return Shard.parse(text)
    names = ("SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_MIN", "SLURM_ARRAY_TASK_COUNT")
    try:
        index, first, count = (int(os.environ[name]) for name in names)
    except KeyError:
        raise InputError("--shard array: this is no element of a SLURM array") from None
    return Shard.parse(f"{index - first}/{count}")


shard_argument = _or_argument_error(_parse_shard)


def experiment_options() -> argparse.ArgumentParser:
    """--experiment, --root, --prompt-set, --model-variant: what a script works on."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--experiment", required=True, help="folder of config.json, for instance audit-bleachers")
    parser.add_argument("--root", type=Path, default=default_root(), help="default: $INTERP_ROOT or experiments/")
    parser.add_argument(
        "--prompt-set", type=names, metavar="A,B", help="prompt sets (default: all of the config)"
    )
    parser.add_argument(
        "--model-variant", type=names, metavar="A,B", help="authors (default: all organisms and shams of the config)"
    )
    return parser


def work_options() -> argparse.ArgumentParser:
    """--shard, --skip-existing, --overwrite, --dry-run: how a share of the work is done."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument(
        "--shard", type=shard_argument, default=Shard(), metavar="i/n",
        help="do the i-th of n parts, and no other; array: that of this element of a SLURM array",
    )
    existing = parser.add_mutually_exclusive_group()
    existing.add_argument("--skip-existing", action="store_true", help="keep finished outputs and do what is left")
    existing.add_argument("--overwrite", action="store_true", help="make all outputs again")
    parser.add_argument("--dry-run", action="store_true", help="print what would be done and end")
    parser.add_argument(
        "--lease-seconds", type=seconds_argument, default=LEASE_SECONDS, metavar="S",
        help=f"take over from a worker that gave no sign of life for so long (default: {LEASE_SECONDS:.0f})",
    )
    parser.add_argument(
        "--warning-seconds", type=seconds_argument, default=WARNING_SECONDS, metavar="S",
        help=f"SIGUSR2 comes so long before the end: the batch in hand has most of it (default: {WARNING_SECONDS:.0f})",
    )
    return parser


def device_options() -> argparse.ArgumentParser:
    """--device, --threads: where the model runs."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--device", help="cuda, cuda:1, cpu (default: cuda where there is one)")
    parser.add_argument(
        "--threads", type=positive, help="on a CPU part of the settings (default: the config's, else all cores)"
    )
    return parser


def cluster_options() -> argparse.ArgumentParser:
    """--gpu-gb, --gres, --workers, --time-limit: what a cluster offers a job; --width: how many share a step."""
    parser = argparse.ArgumentParser(add_help=False)
    for flag, kind, default, text in (
        ("--gpu-gb", positive_number, "80", "memory of a GPU, in GB"),
        ("--gres", str, "gpu:1", "how a job asks for one GPU"),
        ("--workers", positive, "8", "tasks of an array, at most"),
        ("--time-limit", minutes_argument, "24:00:00", "longest job, H:MM, H:MM:SS or D-HH:MM:SS"),
    ):
        variable = "INTERP_" + flag.removeprefix("--").replace("-", "_").upper()
        chosen = os.environ.get(variable) or default
        parser.add_argument(flag, type=kind, default=chosen, help=f"{text} (default: ${variable} or {default})")
    parser.add_argument("--width", type=positive, help="tasks of every array, just so many (default: by the work left)")
    return parser


def positive_number(text: str) -> float:
    """An option's number, above 0; fractions are allowed."""
    if not re.fullmatch(r"\d+(\.\d+)?", text) or float(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return float(text)


def minutes_argument(text: str) -> int:
    """An option's time as whole minutes, rounded down: H:MM, H:MM:SS or D-HH:MM:SS."""
    found = re.fullmatch(r"(?:(\d+)-(?=\d+:\d+:))?(\d+):([0-5]\d)(?::[0-5]\d)?", text)
    days, hours, minutes = (int(part or 0) for part in found.groups()) if found else (0, 0, 0)
    total = (24 * days + hours) * 60 + minutes
    if total == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time: write H:MM, H:MM:SS or D-HH:MM:SS")
    return total


class Progress:
    """Done, left, rate and ETA: a bar at a terminal, else one log line per step."""

    def __init__(self, what: str, total: int, unit: str) -> None:
        self.what, self.total, self.unit = what, total, unit
        self.done, self.left = 0, total
        self.start = time.monotonic()
        self._bar = self._make_bar() if sys.stderr.isatty() else None

    def step(self, count: int, note: str = "", left: int | None = None) -> None:
        """`count` more units are done here; `left` are to do, where others work on the same list."""
        self.done += count
        self.left = self.total - self.done if left is None else left
        if self._bar is not None:
            self._bar.set_postfix_str(note, refresh=False)
            self._bar.update(self.total - self.left - self._bar.n)
        else:
            log.info(self.line(note))

    def line(self, note: str) -> str:
        rate = (self.total - self.left) / max(time.monotonic() - self.start, 1e-9)
        eta = duration(self.left / rate) if rate else "?"
        return (
            f"{self.what}: {self.total - self.left}/{self.total} {self.unit}, {self.left} left, {rate:.3g}/s, "
            f"ETA {eta}{'  ' + note if note else ''}"
        )

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()

    def _make_bar(self) -> Any:
        from tqdm import tqdm

        return tqdm(total=self.total, desc=self.what, unit=self.unit, dynamic_ncols=True)


def duration(seconds: float) -> str:
    """`1:02:03` or `2:03`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
