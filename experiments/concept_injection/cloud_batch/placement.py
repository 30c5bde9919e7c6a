"""The machines of Google Cloud that have one GPU, and which a model runs on."""

from dataclasses import dataclass

from interp.errors import InputError


@dataclass(frozen=True)
class MachineType:
    """A machine with one GPU. `accelerator` is the GPU's name at Google, `memory_gib` the host's own memory."""

    accelerator: str
    vcpus: int
    memory_gib: int


MACHINE_TYPES = {
    "g2-standard-4": MachineType("nvidia-l4", 4, 16),
    "g2-standard-8": MachineType("nvidia-l4", 8, 32),
    "g2-standard-12": MachineType("nvidia-l4", 12, 48),
    "g2-standard-16": MachineType("nvidia-l4", 16, 64),
    "a2-highgpu-1g": MachineType("nvidia-tesla-a100", 12, 85),
    "a2-ultragpu-1g": MachineType("nvidia-a100-80gb", 12, 170),
}
"""Written from memory of Google's tables, and never tried: see docs/cloud.md."""


@dataclass(frozen=True)
class Placement:
    """Where a model runs; the boot disk holds the system, the image (about 10 GB) and the weights."""

    machine_type: str
    disk_gb: int


PLACEMENTS = {
    "L4": Placement("g2-standard-8", 100),
    "A100-40GB": Placement("a2-highgpu-1g", 130),
    "A100-80GB": Placement("a2-ultragpu-1g", 200),
}
"""By the GPU that `machines.gpu_of` names."""


def placement_of(gpu: str) -> Placement:
    """Where a model that needs a GPU runs.

    Raises:
        InputError: no machine here has it.
    """
    if gpu not in PLACEMENTS:
        raise InputError(f"no machine of Google Cloud is known here with {gpu!r}; there are: {', '.join(PLACEMENTS)}")
    return PLACEMENTS[gpu]
