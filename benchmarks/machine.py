"""What a measurement was made on. No host name, no path."""

import os
import platform
import re
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from interp.records import Record

_LIBRARIES = ("torch", "transformers", "peft", "bitsandbytes", "safetensors", "numpy", "pyarrow")


class Machine(Record):
    """Date, processor, cores, versions; `load` is the 1-minute load average before the first measurement."""

    date: str
    cpu: str
    cores: int
    memory_gb: int
    gpu: str | None
    python: str
    libraries: dict[str, str]
    threads: int
    load: float

    @property
    def slug(self) -> str:
        """For file names."""
        name = self.gpu or f"{self.cores}cores {self.cpu}"
        return re.sub(r"[^a-z0-9]+", "-", re.sub(r"\((r|tm)\)|processor|cpu", " ", name.lower())).strip("-")


def this_machine(threads: int, gpu: str | None) -> Machine:
    """This machine, now."""
    return Machine(
        date=datetime.now(UTC).strftime("%Y-%m-%d"),
        cpu=_cpu(),
        cores=len(os.sched_getaffinity(0)),
        memory_gb=round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9),
        gpu=gpu,
        python=platform.python_version(),
        libraries={name: version(name) for name in _LIBRARIES},
        threads=threads,
        load=os.getloadavg()[0],
    )


def _cpu() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.machine()


def gpu_name() -> str | None:
    """The GPU that the phases would use (to be asked in a process of its own: it imports torch)."""
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else None
