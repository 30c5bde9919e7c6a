"""How many CPU threads a model runs on: on a CPU the bits of a sum depend on it, so it is part of the settings."""

import os

import torch


def set_threads(threads: int | None) -> None:
    """Use so many threads, else as many as this process has cores."""
    torch.set_num_threads(threads or len(os.sched_getaffinity(0)))
