"""How much longer a capture takes than a bare forward pass to the same depth, same batch, ways interleaved."""

import copy
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from benchmarks.stopwatch import Cost, now
from interp.blocks import find_blocks
from interp.capture import Reading, read_residuals
from interp.config import BaseModelSpec
from interp.models import LanguageModel, load_language_model
from interp.records import Record

TRUNCATED = "bare backbone, cut after the deepest captured layer"
BARE = "bare model, all layers and LM head"
HIDDEN_STATES = "bare model, output_hidden_states=True"
CAPTURE = "read_residuals, whole sequences to the CPU"
CAPTURE_HALF = "read_residuals, second half of each sequence to the CPU"


@dataclass(frozen=True)
class Subject:
    """A model and a batch: `shape` None loads `spec`, else a random Llama of that shape over its tokenizer."""

    label: str
    spec: BaseModelSpec
    layers: tuple[int, ...]
    rows: int
    width: int
    repeats: int
    shape: dict[str, int] | None = None


class Way(Record):
    """Seconds of each repeat, in the order of the repeats; the i-th of all ways were run next to each other."""

    name: str
    repeats: tuple[Cost, ...]


class ForcedPass(Record):
    """The ways for one subject. `identical`: the captured residuals are those of the bare passes, bit for bit."""

    label: str
    description: str
    identical: bool
    ways: tuple[Way, ...]


@torch.inference_mode()
def measure_forced_pass(subject: Subject) -> ForcedPass:
    """Time every way `repeats` times in an order shuffled anew each time, after one uncounted round."""
    model = _model(subject)
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(8, model.network.config.vocab_size, (subject.rows, subject.width), generator=generator)
    ways = _ways(model, ids, subject.layers)
    identical = _identical(model, ids, subject.layers)
    costs: dict[str, list[Cost]] = {name: [] for name in ways}
    order = list(ways)
    for repeat in range(subject.repeats + 1):
        random.Random(repeat).shuffle(order)
        for name in order:
            start = now()
            ways[name]()
            _wait()
            costs[name].append(now() - start)
    return ForcedPass(
        label=subject.label,
        description=_describe(model, subject),
        identical=identical,
        ways=tuple(Way(name=name, repeats=tuple(costs[name][1:])) for name in ways),
    )


def _ways(model: LanguageModel, ids: torch.Tensor, layers: Sequence[int]) -> dict[str, Callable[[], Any]]:
    batch = ids.to(model.device)
    truncated = truncated_backbone(model, max(layers))
    untouched = model.network
    hooked = copy.deepcopy(model.network)  # output_hidden_states leaves hooks behind in transformers 5
    rows = ids.tolist()
    whole = [Reading(row) for row in rows]
    half = [Reading(row, start=len(row) // 2) for row in rows]
    return {
        TRUNCATED: lambda: truncated(input_ids=batch, use_cache=False),
        BARE: lambda: untouched(input_ids=batch, use_cache=False),
        HIDDEN_STATES: lambda: hooked(input_ids=batch, use_cache=False, output_hidden_states=True),
        CAPTURE: lambda: list(read_residuals(model, whole, layers, ids.numel())),
        CAPTURE_HALF: lambda: list(read_residuals(model, half, layers, ids.numel())),
    }


def truncated_backbone(model: LanguageModel, deepest: int) -> Any:
    """The backbone with its blocks cut off after `deepest` and without final norm; the weights are shared."""
    blocks = find_blocks(model.network)
    backbone: Any = copy.copy(model.backbone)
    backbone._modules = dict(backbone._modules)
    name = next(name for name, module in backbone._modules.items() if module is blocks)
    backbone._modules[name] = blocks[: deepest + 1]
    backbone.config = copy.copy(backbone.config)
    backbone.config.num_hidden_layers = deepest + 1
    if "norm" in backbone._modules:
        backbone._modules["norm"] = nn.Identity()
    return backbone


def _identical(model: LanguageModel, ids: torch.Tensor, layers: Sequence[int]) -> bool:
    """Every captured layer against a backbone cut off right after it."""
    read = [resid for _, resid in sorted(read_residuals(model, [Reading(row) for row in ids.tolist()], layers))]
    return all(
        torch.equal(
            torch.stack([resid[index] for resid in read]),
            truncated_backbone(model, layer)(input_ids=ids.to(model.device), use_cache=False).last_hidden_state.cpu(),
        )
        for index, layer in enumerate(sorted(layers))
    )


def _model(subject: Subject) -> LanguageModel:
    loaded = load_language_model(subject.spec)
    if subject.shape is None:
        return loaded
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    network = LlamaForCausalLM(LlamaConfig(**subject.shape)).eval().requires_grad_(False)
    network.to(loaded.device, getattr(torch, subject.spec.dtype))
    return LanguageModel(subject.spec, network, loaded.tokenizer)


def _describe(model: LanguageModel, subject: Subject) -> str:
    millions = sum(parameter.numel() for parameter in model.network.parameters()) / 1e6
    return (
        f"{model.n_layers} layers, d_model {model.d_model}, {millions:.3g} M parameters, {subject.spec.dtype}; layers "
        f"{', '.join(map(str, subject.layers))} captured; {subject.rows} sequences of {subject.width} tokens"
    )


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
