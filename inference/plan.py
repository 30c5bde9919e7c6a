"""How much an audit is: counts and bytes, before anything is loaded."""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inference.units import CaptureOptions
from interp.config import BaseModelSpec, Experiment
from interp.layers import check_layers
from interp.records import PromptSet

_VALUE_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
_WEIGHT_BYTES = {"float32": 4.0, "bfloat16": 2.0, "float16": 2.0}
_NF4_BYTES = 0.5 + 1 / 64 + 1 / 8192
"""4 bits a weight, and doubly quantised scales: 8 bits a block of 64, 32 bits a block of 256 blocks."""
_PROMPT_ALLOWANCE = 200
"""Tokens that a prompt is counted for when prompts are kept too: they cannot be counted without the tokenizer."""


@dataclass(frozen=True)
class Plan:
    """What an audit makes, at most."""

    authors: tuple[str, ...]
    n_organisms: int
    n_shams: int
    prompt_sets: tuple[PromptSet, ...]
    layers: tuple[int, ...]
    n_layers: int | None
    d_model: int | None
    weight_bytes: float | None
    most_tokens: int
    file_arithmetic: str
    most_file_bytes: int

    @property
    def n_prompts(self) -> int:
        return sum(len(each.prompts) for each in self.prompt_sets)

    @property
    def n_responses(self) -> int:
        return len(self.authors) * self.n_prompts

    @property
    def n_files(self) -> int:
        return 2 * self.n_responses

    @property
    def most_bytes(self) -> int:
        """The bound on the activation files."""
        return self.n_files * self.most_file_bytes


def make_plan(
    experiment: Experiment, variants: list[str] | None, prompt_sets: list[str] | None, options: CaptureOptions
) -> Plan:
    """The plan of an audit.

    Raises:
        InputError: an unknown variant or prompt set, or a layer that the model has not got.
    """
    config = experiment.config
    authors = experiment.select_variants(variants)
    roles = [config.model_variants[name].role for name in authors]
    spec = experiment.base_spec(config.clean_reader)
    shape = read_shape(experiment, spec)
    if shape is not None:
        check_layers(config.layers, shape["n_layers"], spec.model)
    most_tokens = config.sampling.max_new_tokens + (0 if options.response_only else _PROMPT_ALLOWANCE)
    factors = _file_factors(options, len(config.layers), most_tokens, shape["d_model"] if shape else 0)
    return Plan(
        authors=tuple(authors),
        n_organisms=roles.count("organism"),
        n_shams=roles.count("sham"),
        prompt_sets=tuple(experiment.select_prompt_sets(prompt_sets)),
        layers=config.layers,
        n_layers=shape["n_layers"] if shape else None,
        d_model=shape["d_model"] if shape else None,
        weight_bytes=_weight_bytes(spec, shape["parameters"]) if shape and shape["parameters"] else None,
        most_tokens=most_tokens,
        file_arithmetic=" × ".join(factors),
        most_file_bytes=math.prod(int(factor.split()[0]) for factor in factors),
    )


def _file_factors(options: CaptureOptions, n_layers: int, most_tokens: int, d_model: int) -> list[str]:
    """What a file's size is the product of: numbers, each with what it counts."""
    layers, width = f"{n_layers} layers", f"{d_model} wide"
    tokens = f"{most_tokens} {'response' if options.response_only else 'prompt and response'} tokens"
    if options.keep == "raw":
        return [layers, tokens, width, f"{_VALUE_BYTES[options.stored_dtype]} bytes"]
    if options.keep == "pooled":
        return [layers, f"{d_model + most_tokens} (mean, and a length per token)", "4 bytes"]
    return [layers, f"{most_tokens} response tokens", f"{len(options.vectors) + 1} scores", "4 bytes"]


def read_shape(experiment: Experiment, spec: BaseModelSpec) -> dict[str, Any] | None:
    """The base model's size: from its own folder, else as the config declares it."""
    own = Path(spec.model) / "config.json"
    if own.is_file():
        content = json.loads(own.read_text())
        content = content.get("text_config", content)
        weights = sum(file.stat().st_size for file in Path(spec.model).glob("*.safetensors"))
        stored = _WEIGHT_BYTES.get(content.get("dtype") or content.get("torch_dtype") or "bfloat16", 2.0)
        return {
            "n_layers": content["num_hidden_layers"],
            "d_model": content["hidden_size"],
            "parameters": weights / stored,
        }
    return experiment.config.shape.model_dump() if experiment.config.shape else None


def _weight_bytes(spec: BaseModelSpec, parameters: float) -> float:
    return parameters * (_NF4_BYTES if spec.quantization else _WEIGHT_BYTES[spec.dtype])
