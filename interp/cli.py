"""What all scripts share: options, errors as one line, logs and progress."""

import argparse
import logging
import os
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from interp.errors import InputError, InterpError
from interp.layers import parse_layers
from interp.paths import default_root
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


def _or_argument_error(parse: Callable[[str], object]) -> Callable[[str], object]:
    """argparse drops the text of other errors."""

    def parse_argument(text: str) -> object:
        try:
            return parse(text)
        except InputError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return parse_argument


layers_argument = _or_argument_error(parse_layers)
shard_argument = _or_argument_error(Shard.parse)


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
    parser.add_argument("--shard", type=shard_argument, default=Shard(), metavar="i/n", help="do the i-th of n parts")
    existing = parser.add_mutually_exclusive_group()
    existing.add_argument("--skip-existing", action="store_true", help="keep finished outputs and do what is left")
    existing.add_argument("--overwrite", action="store_true", help="make all outputs again")
    parser.add_argument("--dry-run", action="store_true", help="print what would be done and end")
    return parser


def device_options() -> argparse.ArgumentParser:
    """--device, --threads: where the model runs."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--device", help="cuda, cuda:1, cpu (default: cuda where there is one)")
    parser.add_argument(
        "--threads", type=positive, help="on a CPU part of the settings (default: the config's, else all cores)"
    )
    return parser


class Progress:
    """Done, left, rate and ETA: a bar at a terminal, else one log line per step."""

    def __init__(self, what: str, total: int, unit: str) -> None:
        self.what, self.total, self.unit = what, total, unit
        self.done = 0
        self.start = time.monotonic()
        self._bar = self._make_bar() if sys.stderr.isatty() else None

    def step(self, count: int, note: str = "") -> None:
        """`count` more units are done."""
        self.done += count
        if self._bar is not None:
            self._bar.set_postfix_str(note, refresh=False)
            self._bar.update(count)
        else:
            log.info(self.line(note))

    def line(self, note: str) -> str:
        elapsed = max(time.monotonic() - self.start, 1e-9)
        rate = self.done / elapsed
        left = self.total - self.done
        return (
            f"{self.what}: {self.done}/{self.total} {self.unit}, {left} left, {rate:.3g}/s, "
            f"ETA {duration(left / rate) if rate else '?'}{'  ' + note if note else ''}"
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
