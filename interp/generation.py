"""Batched generation whose result for a row depends on nothing but that row.

Random numbers belong to the row: a function of (seed, the row's key, step), whatever else is in the batch.
Any interventions hold during prefill and every decode step.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp.errors import InputError
from interp.interventions import Intervention, Session, intervene
from interp.models import LanguageModel
from interp.records import Sampling

_DROP_SHARE = 0.125
"""Finished rows leave the batch once they are this share of it."""


@dataclass(frozen=True)
class Completion:
    """The tokens that a model produced; the stop token is apart, None when the length limit came first."""

    ids: tuple[int, ...]
    stop_token: int | None


@dataclass(frozen=True)
class PaddedBatch:
    """Left-padded prompts: `ids`, `mask` (1 for real tokens) and `positions`, all `[batch, seq]`."""

    ids: Int[Tensor, "batch seq"]
    mask: Int[Tensor, "batch seq"]
    positions: Int[Tensor, "batch seq"]


@torch.inference_mode()
def generate(
    model: LanguageModel,
    prompts: Sequence[Sequence[int]],
    sampling: Sampling,
    keys: Sequence[str],
    interventions: Sequence[Intervention] = (),
    shared_prefix: int = 0,
) -> list[Completion]:
    """Answer a batch of prompts (token ids), row by row as if each were alone (up to floating-point rounding).

    Args:
        keys: one name per row that its random stream belongs to; not used at temperature 0.
        interventions: with per-row settings in the order of `prompts`.
        shared_prefix: so many first tokens are the same in all prompts, which are of one length, and no intervention
            touches them: they are run once, not once a row.
    """
    batch = pad_left(prompts, _padding_id(model), model.device)
    start = Start(shared_cache(model, prompts, shared_prefix), shared_prefix)
    with intervene(model.network, *interventions) as session:
        tokens = _decode(model, batch, _Sampler(sampling, keys, model.device), session, start)
    return [_cut(row, model.stop_ids) for row in tokens.tolist()]


@dataclass(frozen=True)
class Start:
    """Where decoding begins: keys and values of each row's first `length` tokens, and how many those are."""

    cache: Any
    length: int


@torch.inference_mode()
def shared_cache(model: LanguageModel, prompts: Sequence[Sequence[int]], length: int) -> Any:
    """Keys and values of the first `length` tokens that all prompts share, computed once, a copy for each row.

    Raises:
        InputError: the prompts do not share them, have nothing after them, or are not of one length.
    """
    from transformers import DynamicCache

    cache = DynamicCache(config=model.network.config)
    if not length:
        return cache
    first = tuple(prompts[0][:length])
    shapes = {(tuple(each[:length]), len(each)) for each in prompts}
    if len(shapes) > 1 or len(prompts[0]) <= length:
        raise InputError(f"prompts of one length that share their first {length} tokens, and go on, were promised")
    model.backbone(input_ids=torch.tensor([first], device=model.device), past_key_values=cache, use_cache=True)
    cache.batch_repeat_interleave(len(prompts))
    return cache


def pad_left(prompts: Sequence[Sequence[int]], padding: int, device: torch.device | str) -> PaddedBatch:
    """Prompts of different lengths as one batch that ends together; positions count real tokens from 0."""
    width = max(len(prompt) for prompt in prompts)
    ids = torch.tensor([[padding] * (width - len(prompt)) + list(prompt) for prompt in prompts], device=device)
    lengths = torch.tensor([len(prompt) for prompt in prompts], device=device)
    positions = torch.arange(width, device=device)[None] - (width - lengths)[:, None]
    return PaddedBatch(ids, (positions >= 0).long(), positions.clamp(min=0))


def row_uniforms(seed: int, key: str, count: int) -> Float[np.ndarray, " count"]:
    """`count` numbers in [0, 1) that belong to a seed and a key: Philox, a counter-based generator (Salmon 2011)."""
    digest = hashlib.blake2b(f"{seed}\x1f{key}".encode(), digest_size=16).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest, "little"))).random(count)


class _Sampler:
    """Draws the next token of each row."""

    def __init__(self, sampling: Sampling, keys: Sequence[str], device: torch.device) -> None:
        self.sampling = sampling
        if sampling.temperature > 0:
            drawn = np.stack([row_uniforms(sampling.seed, key, sampling.max_new_tokens) for key in keys])
            self.uniforms = torch.from_numpy(drawn).to(device)

    def draw(self, logits: Float[Tensor, "batch vocab"], rows: Tensor, step: int) -> Int[Tensor, " batch"]:
        if self.sampling.temperature == 0:
            return logits.argmax(dim=-1)
        kept = _filtered_probabilities(logits.double() / self.sampling.temperature, self.sampling)
        cumulative = kept.cumsum(dim=-1)
        threshold = self.uniforms[rows, step, None] * cumulative[:, -1:]
        drawn: Tensor = torch.searchsorted(cumulative, threshold, right=True)[:, 0]
        return drawn.clamp(max=logits.shape[-1] - 1)


def _filtered_probabilities(logits: Float[Tensor, "batch vocab"], sampling: Sampling) -> Float[Tensor, "batch vocab"]:
    """Probabilities after top-k and nucleus filtering (Holtzman 2020), not renormalised."""
    probabilities = logits.softmax(dim=-1)
    if sampling.top_k:
        least = probabilities.topk(min(sampling.top_k, probabilities.shape[-1])).values[:, -1:]
        probabilities = probabilities.where(probabilities >= least, 0)
    if sampling.top_p < 1:
        ranked, order = probabilities.sort(dim=-1, descending=True, stable=True)
        before = ranked.cumsum(dim=-1) - ranked
        nucleus = ranked.where(before < sampling.top_p * ranked.sum(dim=-1, keepdim=True), 0)
        probabilities = torch.zeros_like(probabilities).scatter(-1, order, nucleus)
    return probabilities


def _decode(
    model: LanguageModel, batch: PaddedBatch, sampler: _Sampler, session: Session, start: Start
) -> Int[Tensor, "batch max_new"]:
    """The decode loop. Rows that have stopped leave the batch; unused places hold -1."""
    n_rows, limit = len(batch.ids), sampler.sampling.max_new_tokens
    produced = torch.full((n_rows, limit), -1, device=model.device)
    stops = torch.tensor(model.stop_ids, device=model.device)
    rows = torch.arange(n_rows, device=model.device)
    live = torch.ones(n_rows, dtype=torch.bool, device=model.device)
    ids, positions = batch.ids[:, start.length :], batch.positions[:, start.length :]
    cache, mask = start.cache, batch.mask
    for step in range(limit):
        logits = model.network(
            input_ids=ids, attention_mask=mask, position_ids=positions, past_key_values=cache, use_cache=True,
            logits_to_keep=1,
        ).logits[:, -1]
        token = sampler.draw(logits, rows, step)
        produced[rows, step] = torch.where(live, token, -1)
        live = live & ~torch.isin(token, stops)
        ids, positions = token[:, None], positions[:, -1:] + 1
        mask = torch.cat([mask, mask.new_ones(len(rows), 1)], dim=1)
        n_live = int(live.sum())
        if n_live == 0:
            break
        if len(rows) - n_live >= _DROP_SHARE * len(rows):
            kept = live.nonzero()[:, 0]
            cache.batch_select_indices(kept)
            ids, positions, mask, rows, live = ids[kept], positions[kept], mask[kept], rows[kept], live[kept]
            session.keep_rows(rows)
    return produced


def _cut(tokens: Sequence[int], stop_ids: Sequence[int]) -> Completion:
    ids = [token for token in tokens if token >= 0]
    stopped = bool(ids) and ids[-1] in stop_ids
    return Completion(tuple(ids[:-1] if stopped else ids), ids[-1] if stopped else None)


def _padding_id(model: LanguageModel) -> int:
    """Any real token will do: padding is masked, and its embedding never read by a real token."""
    padding = model.tokenizer.pad_token_id
    return 0 if padding is None else int(padding)
