"""Worker processes that train adapters at the same time; they end with the build that started them."""

import logging
import multiprocessing
import multiprocessing.reduction
import warnings
from collections.abc import Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path

from experiments.planted_quirks.recipe import Recipe


def start_worker(recipe: Recipe, models: Path, names: Sequence[str], lock: int) -> BaseProcess:
    """Start a process that trains, measures and saves the named adapters over `models/base`.

    Args:
        lock: descriptor of the build's lock; the worker keeps it, so that no other build begins beside a worker.
    """
    context = multiprocessing.get_context("spawn")
    worker = context.Process(target=_work, args=(recipe, models, names, _HandedDown(lock)), daemon=True)
    worker.start()
    return worker


def end_with_parent() -> None:
    """Leave, in a worker whose build was killed."""
    parent = multiprocessing.parent_process()
    if parent is not None and not parent.is_alive():
        raise SystemExit("the build has ended")


def _work(recipe: Recipe, models: Path, names: Sequence[str], lock: object) -> None:
    _silence_libraries()
    from experiments.planted_quirks.train_organisms import train_adapters

    train_adapters(recipe, models, names)


def _silence_libraries() -> None:
    """What transformers and bitsandbytes say of their own insides when peft wraps a model."""
    warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing.*")
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)


class _HandedDown:
    """A file descriptor that a spawned process inherits."""

    def __init__(self, descriptor: object) -> None:
        self.descriptor = descriptor

    def __reduce__(self) -> tuple[type, tuple[object]]:
        assert isinstance(self.descriptor, int)
        return _HandedDown, (multiprocessing.reduction.DupFd(self.descriptor),)
