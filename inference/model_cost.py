"""What passes through the audited model cost, by arithmetic alone: before anything is loaded, on no GPU.

Bounds, not forecasts: every pass counts `SLACK` times, and a GPU is an A100, whatever it is.
"""

import math
from dataclasses import dataclass

from inference.plan import Plan, read_shape
from inference.work_left import WorkLeft
from interp.config import Experiment
from interp.errors import InputError
from interp.files import human_bytes

SLACK = 2.0
"""How much longer than its arithmetic a pass may take: kernels, caches, reading prompts, writing files."""
A100_BYTES_PER_SECOND = 2.039e12
A100_FLOPS_PER_SECOND = 0.4 * 312e12
"""40% of the dense bfloat16 peak."""
CPU_BYTES_PER_SECOND = 10e9
CPU_FLOPS_PER_SECOND = 50e9
"""Two cores of a shared machine."""
EXPANDED_BYTES = 0.5 + 2 + 2
"""What a decode step moves for a 4-bit weight, at worst: read, written out as bfloat16, read again."""
LAYER_SECONDS = 1e-3
"""To launch a block's kernels from Python, adapter included: what bounds a small model's decode step."""
LOAD_BYTES_PER_SECOND = 1e9
START_SECONDS = 60.0
ADAPTER_SECONDS = 10.0
GPU_BORDER_BYTES = 20e9
"""Weights above this want a GPU."""
GPU_ROOM = 1.15
"""GPU memory, over the weights' own."""


@dataclass(frozen=True)
class ModelCost:
    """What passes through a model cost, by its parameters, the bytes a decode step moves for each, and its blocks."""

    parameters: float
    bytes_per_parameter: float
    n_layers: int
    on_gpu: bool

    @property
    def step_seconds(self) -> float:
        """A decode step without slack: all weights moved once. 70.6e9 × 4.5 bytes / 2.039 TB/s = 0.156 s."""
        rate = A100_BYTES_PER_SECOND if self.on_gpu else CPU_BYTES_PER_SECOND
        return max(self.parameters * self.bytes_per_parameter / rate, self.n_layers * LAYER_SECONDS)

    def generate_seconds(self, steps: float) -> float:
        """Decoding a batch for so many steps; memory-bound, so the same for any batch."""
        return SLACK * steps * self.step_seconds

    def pass_seconds(self, tokens: float) -> float:
        """A forced pass over so many tokens: 2 FLOPs a parameter and token."""
        rate = A100_FLOPS_PER_SECOND if self.on_gpu else CPU_FLOPS_PER_SECOND
        return SLACK * 2 * self.parameters * tokens / rate

    @property
    def load_seconds(self) -> float:
        """Starting Python and reading a checkpoint of 2 bytes a parameter."""
        return START_SECONDS + self.parameters * 2 / LOAD_BYTES_PER_SECOND


def wants_gpu(experiment: Experiment, plan: Plan) -> bool:
    """Whether the model is too large for a CPU, or has 4-bit weights, whose kernels are made for GPUs."""
    quantized = experiment.base_spec(experiment.config.clean_reader).quantization is not None
    return plan.weight_bytes is not None and (quantized or plan.weight_bytes > GPU_BORDER_BYTES)


def gpu_shortage(experiment: Experiment, plan: Plan, gpu_gb: float) -> str | None:
    """What is wrong where a GPU of `gpu_gb` GB is too small for the model; None where it will do."""
    needed = (plan.weight_bytes or 0.0) * GPU_ROOM
    if not wants_gpu(experiment, plan) or needed <= gpu_gb * 1e9:
        return None
    weights = human_bytes(plan.weight_bytes or 0.0)
    return (
        f"GPU: {weights} of weights and room to work need {math.ceil(needed / 1e9)} GB, the cluster's has {gpu_gb:g}: "
        "ask for a larger one (--gres) and say its size (--gpu-gb)"
    )


def model_cost(experiment: Experiment, plan: Plan, left: WorkLeft) -> ModelCost:
    """The costs of the audited model. One that is still to be built will be built on a CPU, so it counts as tiny.

    Raises:
        InputError: its size is not known.
    """
    spec = experiment.base_spec(experiment.config.clean_reader)
    shape = read_shape(experiment, spec)
    if shape is None or plan.weight_bytes is None:
        if left.build:
            return ModelCost(0.0, 0.0, 0, on_gpu=False)
        raise InputError(
            f"the size of {spec.model} is not known, so that of its jobs is not: "
            f"add `shape` (n_layers, d_model, parameters) to {experiment.paths.config}"
        )
    bytes_moved = EXPANDED_BYTES if spec.quantization else plan.weight_bytes / shape["parameters"]
    return ModelCost(shape["parameters"], bytes_moved, shape["n_layers"], wants_gpu(experiment, plan))
