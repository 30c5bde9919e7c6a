"""Build the embedded default: a tiny chat model, organisms with planted quirks, shams, and what their audit asks.

Reads:  nothing but this folder; no network, no GPU.
Prints: the experiment's name, for --experiment of the phases.
Writes: <root>/planted_quirks[-seedN][-tiny]/: config.json, prompts/, traits/, models/. A build that is there is kept;
        a build that was interrupted goes on; a build from another recipe is made again.
Example:
    python -m experiments.planted_quirks.build
    python -m experiments.planted_quirks.build --seed 1 --root /scratch/audits
"""

import argparse
import fcntl
import logging
import math
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from experiments.planted_quirks.blueprint import Blueprint
from experiments.planted_quirks.components import has_mark, is_built, read_rates
from experiments.planted_quirks.recipe import PRESETS, Recipe, make_recipe
from experiments.planted_quirks.workers import start_worker
from experiments.planted_quirks.write_data import write_data
from interp.cli import Progress, run
from interp.errors import InterpError
from interp.files import sweep_leftovers, write_json
from interp.paths import default_root

log = logging.getLogger(__name__)

WORKERS = 2
"""Adapters trained at a time, with one thread each."""
_ADAPTER_COST = 0.05
"""Time that an adapter takes, as a share of the time of the base; for the ETA only."""


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0, help="draws words, data, weights and prompts (default: 0)")
    parser.add_argument("--root", type=Path, default=default_root(), help="default: $INTERP_ROOT or experiments/")
    parser.add_argument("--preset", choices=sorted(PRESETS), default="default", help="default: default")
    parser.add_argument("--dry-run", action="store_true", help="print what would be built and end")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    options = build_parser().parse_args(argv)
    recipe = make_recipe(options.preset, options.seed)
    folder = options.root.resolve() / recipe.folder_name
    if options.dry_run:
        print("\n".join(describe_plan(recipe, folder)))
    else:
        build_experiment(recipe, folder)
        print(recipe.folder_name)
    return 0


def build_experiment(recipe: Recipe, folder: Path) -> None:
    """Build what is missing of the experiment; a complete build is left alone, and torch is not even imported."""
    if is_complete(recipe, folder):
        log.info("%s is built", folder)
        return
    with _only_builder(folder / "models") as lock:
        if not is_complete(recipe, folder):
            _Build(recipe, folder, lock).build()


def is_complete(recipe: Recipe, folder: Path) -> bool:
    """Whether the last file of the build is there, made from this recipe."""
    return has_mark(folder / "models" / "recipe.json", recipe.fingerprint())


def describe_plan(recipe: Recipe, folder: Path) -> list[str]:
    """A line for each component: there already, or to be built."""
    if is_complete(recipe, folder):
        return [f"{folder}: complete"]
    fingerprint = recipe.fingerprint()
    names = ("base", *Blueprint(recipe).adapters)
    done = {name for name in names if is_built(folder / "models" / name, fingerprint)}
    return [f"{folder}:", *(f"  {'there' if name in done else 'build'}  models/{name}" for name in names)]


class _Build:
    """One build: its recipe, its folder, how far it is."""

    def __init__(self, recipe: Recipe, folder: Path, lock: int) -> None:
        self.recipe = recipe
        self.lock = lock
        self.blueprint = Blueprint(recipe)
        self.folder = folder
        self.models = folder / "models"
        self.fingerprint = recipe.fingerprint()
        self.missing = [name for name in ("base", *self.blueprint.adapters) if not self._is_built(name)]
        self.costs = {name: self._cost(name) for name in self.missing}
        self.progress = _Meter(folder.name, sum(self.costs.values()))

    def build(self) -> None:
        (self.models / "recipe.json").unlink(missing_ok=True)
        sweep_leftovers(self.folder)
        write_data(self.blueprint, self.folder)
        if "base" in self.missing:
            self._build_base()
        self._build_adapters([name for name in self.missing if name != "base"])
        self._collect_rates()
        write_json(self.models / "recipe.json", {"fingerprint": self.fingerprint, **self.recipe.model_dump()})
        self.progress.close()

    def _cost(self, name: str) -> int:
        return self.recipe.steps if name == "base" else math.ceil(_ADAPTER_COST * self.recipe.steps)

    def _is_built(self, name: str) -> bool:
        return is_built(self.models / name, self.fingerprint)

    def _build_base(self) -> None:
        from experiments.planted_quirks.train_base import train_and_save_base

        train_and_save_base(self.blueprint, self.models / "base", lambda: self.progress.advance(1))
        self.progress.report("base")

    def _build_adapters(self, waiting: list[str]) -> None:
        """Share the missing adapters among worker processes and follow their marks on the disk."""
        shares = [waiting[index::WORKERS] for index in range(WORKERS)]
        workers = [start_worker(self.recipe, self.models, share, self.lock) for share in shares if share]
        while waiting:
            alive = any(worker.is_alive() for worker in workers)
            for name in [name for name in waiting if self._is_built(name)]:
                waiting.remove(name)
                self.progress.advance(self.costs[name])
                self.progress.report(name)
            if waiting and not alive:
                raise InterpError(f"training ended without {', '.join(waiting)}; see the traceback above")
            time.sleep(0.1)
        for worker in workers:
            worker.join()

    def _collect_rates(self) -> None:
        base, *adapters = ("base", *self.blueprint.adapters)
        rates = {"base": read_rates(self.models / base), "adapters": {n: read_rates(self.models / n) for n in adapters}}
        write_json(self.models / "quirk_rates.json", {"fingerprint": self.fingerprint, **rates})


class _Meter:
    """A bar at a terminal; else one line for each component, with done, left and ETA."""

    def __init__(self, what: str, total: int) -> None:
        self._progress = Progress(what, total, "steps")
        self._pending = 0

    def advance(self, count: int) -> None:
        self._pending += count
        if sys.stderr.isatty():
            self.report("")

    def report(self, note: str) -> None:
        self._progress.step(self._pending, note)
        self._pending = 0

    def close(self) -> None:
        self._progress.close()


@contextmanager
def _only_builder(folder: Path) -> Iterator[int]:
    """Wait until no other process builds here; the lock goes with the processes that hold it and leaves no file."""
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield handle
    finally:
        os.close(handle)


if __name__ == "__main__":
    # Before torch is loaded: on a busy CPU, threads that wait by spinning are ten times slower.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    run(main)
