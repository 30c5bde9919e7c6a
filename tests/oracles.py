"""Slow, obviously right versions of what `interp` computes: plain transformers, and short loops."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn


def fresh_model(folder: Path) -> Any:
    """A copy that nobody has touched (transformers 5 leaves hooks behind after `output_hidden_states`)."""
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def pad_right(sequences: Sequence[Sequence[int]]) -> Tensor:
    width = max(map(len, sequences))
    return torch.tensor([list(ids) + [0] * (width - len(ids)) for ids in sequences])


@torch.inference_mode()
def hidden_states(network: Any, ids: Tensor) -> tuple[Tensor, ...]:
    """Hugging Face's: the embeddings, then the output of each block, the last one normed."""
    states: tuple[Tensor, ...] = network(input_ids=ids, output_hidden_states=True).hidden_states
    return states


@torch.inference_mode()
def logits_of(network: Any, ids: Sequence[int]) -> Tensor:
    """`[seq, vocab]` for one whole sequence, without padding or cache."""
    logits: Tensor = network(input_ids=torch.tensor([list(ids)]), use_cache=False).logits[0]
    return logits


def greedy(network: Any, prompt: Sequence[int], limit: int, stops: Sequence[int] = ()) -> tuple[list[int], int | None]:
    """The tokens and the stop token: the whole sequence is read again for every token."""
    ids: list[int] = []
    for _ in range(limit):
        token = int(logits_of(network, [*prompt, *ids])[-1].argmax())
        if token in stops:
            return ids, token
        ids.append(token)
    return ids, None


@contextmanager
def output_changed(module: nn.Module, change: Callable[[Tensor], None]) -> Iterator[None]:
    """A plain hook: `change` edits a copy of the module's output in place."""

    def hook(_: nn.Module, __: Any, output: Any) -> Any:
        hidden = (output[0] if isinstance(output, tuple) else output).clone()
        change(hidden)
        return (hidden, *output[1:]) if isinstance(output, tuple) else hidden

    handle = module.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def outputs_kept(module: nn.Module) -> Iterator[list[Tensor]]:
    """The outputs of a module, call by call."""
    kept: list[Tensor] = []

    def hook(_: nn.Module, __: Any, output: Any) -> None:
        kept.append((output[0] if isinstance(output, tuple) else output).clone())

    handle = module.register_forward_hook(hook)
    try:
        yield kept
    finally:
        handle.remove()


def count_hooks(network: nn.Module) -> int:
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in network.modules())


def add_adapter_by_hand(network: Any, adapter: Path) -> Any:
    """W + (alpha / r) · B A for every target, in float32."""
    import json

    from safetensors.torch import load_file

    config = json.loads((adapter / "adapter_config.json").read_text())
    weights = load_file(adapter / "adapter_model.safetensors")
    for name in (name for name in weights if name.endswith("lora_A.weight")):
        target = name.removeprefix("base_model.model.").removesuffix(".lora_A.weight")
        update = weights[name.replace("lora_A", "lora_B")] @ weights[name]
        network.get_submodule(target).weight.data += config["lora_alpha"] / config["r"] * update
    return network


def projections(resid: Tensor, directions: Tensor) -> list[list[float]]:
    """`resid · v / |v|`, number by number."""
    scores = []
    for v in directions.tolist():
        length = sum(x * x for x in v) ** 0.5
        scores.append([sum(a * b for a, b in zip(token, v, strict=True)) / length for token in resid.tolist()])
    return scores


def auroc_by_pairs(positive: Sequence[float], negative: Sequence[float]) -> float:
    pairs = [(p > n) + 0.5 * (p == n) for p in positive for n in negative]
    return float(np.mean(pairs))
