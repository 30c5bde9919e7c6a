"""Reading residuals: always one teacher-forced pass over stored token ids.

Sequences are right-padded: under a causal mask no real token sees the padding, so none is masked. The pass ends at the
deepest layer that is read, and the LM head never runs.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from interp.blocks import find_blocks
from interp.layers import check_layers
from interp.models import LanguageModel
from interp.work import pack_by_length


@dataclass(frozen=True)
class Reading:
    """What is read: a whole sequence of ids, and from which token on its residuals are kept."""

    ids: Sequence[int]
    start: int = 0


class _DeepestLayerReached(Exception):  # not an error: it ends the forward pass
    pass


@torch.inference_mode()
def read_residuals(
    model: LanguageModel, readings: Sequence[Reading], layers: Sequence[int], max_tokens: int = 16384
) -> Iterator[tuple[int, Float[Tensor, "layers tokens d_model"]]]:
    """Yield (index of the reading, residuals at the outputs of `layers`, from `start` to its end, on the CPU).

    Readings of similar length share a pass of at most `max_tokens` padded tokens. What shares a pass depends only on
    the lengths, so that every reader of the same sequences meets the same padding and the same kernels.
    """
    order = check_layers(layers, model.n_layers, model.spec.model)
    for group in pack_by_length([len(reading.ids) for reading in readings], max_tokens):
        states = _forward([readings[index].ids for index in group], model, order)
        for row, index in enumerate(group):
            kept = slice(readings[index].start, len(readings[index].ids))
            yield index, torch.stack([states[layer][row, kept] for layer in order]).cpu()


def _forward(
    sequences: Sequence[Sequence[int]], model: LanguageModel, layers: Sequence[int]
) -> dict[int, Float[Tensor, "batch seq d_model"]]:
    """The outputs of the blocks `layers` for right-padded sequences, from one pass that stops at the deepest."""
    width = max(map(len, sequences))
    padded = [list(ids) + [0] * (width - len(ids)) for ids in sequences]
    states: dict[int, Tensor] = {}
    blocks = find_blocks(model.network)
    handles = [blocks[layer].register_forward_hook(_keep(states, layer, max(layers))) for layer in layers]
    try:
        model.backbone(input_ids=torch.tensor(padded, device=model.device), use_cache=False)
    except _DeepestLayerReached:
        pass
    finally:
        for handle in handles:
            handle.remove()
    return states


def _keep(states: dict[int, Tensor], layer: int, deepest: int):  # type: ignore[no-untyped-def]
    def hook(_: nn.Module, __: object, output: Tensor | tuple[Tensor, ...]) -> None:
        states[layer] = output[0] if isinstance(output, tuple) else output
        if layer == deepest:
            raise _DeepestLayerReached

    return hook
