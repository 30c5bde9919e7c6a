"""What a sweep is asked to do: one validated record that flows through every path, local, SLURM or cloud."""

import re
from typing import Any, Literal, Self, get_args

from pydantic import Field, field_validator, model_validator

from interp.config import BaseModelSpec, DType, Quantization
from interp.records import Record, Sampling, check_id

Style = Literal["all", "generation", "span"]
"""Where the vector is added: everywhere, from the last prompt token on, or from a marked place in the prompt on."""
StrengthUnit = Literal["vector", "residual"]
"""What a strength is a multiple of: the concept vector's length, or the typical length of a residual at the layer."""
Condition = Literal["injection", "random", "other", "control"]
"""The concept's vector; a random direction, another concept's vector, both of its length; nothing."""
INJECTED: tuple[Condition, ...] = ("injection", "random", "other")
VectorToken = Literal["reply", "last"]
"""Whose residual makes a concept vector: the token before the reply, or the last one of the text itself."""

CONTROL = "control"
"""The file of trials without any injection, which all concepts, layers and strengths share."""

MODELS = {
    "3b": "Qwen/Qwen2.5-3B-Instruct",
    "7b": "Qwen/Qwen2.5-7B-Instruct",
    "14b": "Qwen/Qwen2.5-14B-Instruct",
    "32b": "Qwen/Qwen2.5-32B-Instruct",
}

GRIDS: dict[str, dict[str, Any]] = {
    "late": {"depths": (0.60, 0.65, 0.70, 0.75), "strengths": (1.5, 2.0, 2.5, 3.0, 4.0), "trials": 20},
    "wide": {
        "depths": (0.17, 0.33, 0.50, 0.67, 0.83, 0.95), "strengths": (1.0, 1.5, 2.0, 2.5, 3.0, 4.0), "trials": 40
    },
}  # fmt: skip
"""Layers as shares of depth, strengths, trials per cell."""


class SweepRequest(Record):
    """One sweep over one model.

    Attributes:
        model: a short name of MODELS, a hub id, or a folder; with `source`, a name for the model that is there.
        layers: 0-based; where there are none, `depths` says which, as shares of the model's depth.
        conditions: beside the shared control.
        control_trials: without injection; shared by all cells, so more than a cell has.
        vector_token, vector_template: how concept vectors are read; `baseline` is the list of words whose mean is
            taken off.
        random_directions: different ones for each concept and layer; the trials of a cell take turns.
        batch_size: trials answered at once; with fewer bits than float32 it is part of what decides a response.
    """

    experiment_id: str
    model: str = "3b"
    source: str | None = None
    revision: str | None = None
    quantization: Quantization | None = None
    dtype: DType = "bfloat16"
    concepts: tuple[str, ...] = ("celebration", "ocean", "fear", "silence")
    layers: tuple[int, ...] = ()
    depths: tuple[float, ...] = GRIDS["late"]["depths"]
    strengths: tuple[float, ...] = GRIDS["late"]["strengths"]
    strength_unit: StrengthUnit = "vector"
    trials: int = Field(default=GRIDS["late"]["trials"], ge=1)
    conditions: tuple[Condition, ...] = INJECTED
    control_trials: int = Field(default=100, ge=1)
    inject_style: Style = "generation"
    prompt_version: str = "v2"
    sampling: Sampling = Sampling(max_new_tokens=100, temperature=1.0)
    vector_token: VectorToken = "reply"
    vector_template: bool = True
    baseline: str = "baseline"
    random_directions: int = Field(default=5, ge=1)
    yes_bias: bool = True
    batch_size: int = Field(default=64, ge=1)
    threads: int | None = None

    @field_validator("experiment_id")
    @classmethod
    def _is_a_folder_name(cls, value: str) -> str:
        return check_id(value)

    @field_validator("layers")
    @classmethod
    def _in_order(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(sorted(set(value)))

    @model_validator(mode="after")
    def _is_a_grid(self) -> Self:
        if not self.concepts or len(set(self.concepts)) < len(self.concepts):
            raise ValueError(f"concepts must be different words, one at least: {', '.join(self.concepts)}")
        for concept in self.concepts:
            if not re.fullmatch(r"[A-Za-z][A-Za-z-]*", concept) or concept == CONTROL:
                raise ValueError(f"{concept!r} cannot be a concept: write one word of letters, other than {CONTROL!r}")
        if not all(0 < strength < 1e4 for strength in self.strengths) or not self.strengths:
            raise ValueError("strengths must be above 0; what happens at 0 is the control")
        if len(set(self.strengths)) < len(self.strengths):
            raise ValueError("a strength is given twice")
        if not self.layers and not all(0 <= depth <= 1 for depth in self.depths):
            raise ValueError("depths are shares of the model's depth, from 0 to 1")
        if not (self.layers or self.depths):
            raise ValueError("needs layers, or depths")
        if CONTROL in self.conditions:
            raise ValueError("the control always runs: conditions name what is beside it")
        return self

    @property
    def model_id(self) -> str:
        """A hub id or a folder."""
        return self.source or MODELS.get(self.model, self.model)

    @property
    def model_name(self) -> str:
        """Its folder: the short name, else the last part of the id."""
        name = self.model.rstrip("/").rpartition("/")[2]
        return re.sub(r"[^A-Za-z0-9._-]+", "-", name)

    @property
    def spec(self) -> BaseModelSpec:
        return BaseModelSpec(
            model=self.model_id, revision=self.revision, quantization=self.quantization, dtype=self.dtype
        )

    @property
    def files(self) -> tuple[str, ...]:
        """What is made, a file each: the control, then a concept each."""
        return (CONTROL, *self.concepts)

    @property
    def used_conditions(self) -> tuple[Condition, ...]:
        """In a fixed order. Of one concept alone there is no other."""
        return tuple(
            each for each in INJECTED if each in self.conditions and (each != "other" or len(self.concepts) > 1)
        )

    def layers_of(self, n_layers: int) -> tuple[int, ...]:
        """The layers in a model of so many blocks: a share d of its depth is layer round(d · n), the last at most."""
        if self.layers:
            return self.layers
        return tuple(sorted({min(round(depth * n_layers), n_layers - 1) for depth in self.depths}))


assert set(INJECTED) | {CONTROL} == set(get_args(Condition))
