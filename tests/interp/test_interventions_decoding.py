"""Interventions in decoding: position by position the same with a cache as without, row by row as if alone."""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest
import torch
from torch import Tensor

from interp.blocks import find_blocks
from interp.generation import generate, pad_left
from interp.interventions import Capture, Intervention, Positions, Steer, intervene
from interp.models import LanguageModel
from interp.records import Sampling
from tests import oracles
from tests.tiny_models import D_MODEL, N_LAYERS, random_ids

PROMPTS = random_ids((4, 15, 9), seed=21)
BATCH = pad_left(PROMPTS, 0, "cpu")
VECTORS = torch.randn(len(PROMPTS), D_MODEL, generator=torch.Generator().manual_seed(2)) * 3


def close(one: Tensor, other: Tensor) -> bool:
    return torch.allclose(one, other, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("start", [2, 8, 15, 18, 22])
def test_steering_from_a_position_on_holds_with_and_without_a_cache(model: LanguageModel, start: int) -> None:
    """In the prompt of one row and the answer of another; every row against itself alone, whole, by a plain hook."""
    answers = random_ids([9, 9, 9], seed=33)
    layers = range(2, N_LAYERS)
    steer = Steer(1, VECTORS, [3.0, 2.0, -2.0], Positions(start))
    cached, clean = (_residuals_with_cache(model, answers, layers, *each) for each in ([steer], []))
    for row, prompt in enumerate(PROMPTS):
        whole = pad_left([prompt + answers[row]], 0, "cpu")
        push = [3.0, 2.0, -2.0][row] * VECTORS[row]

        def add(hidden: Tensor, push: Tensor = push) -> None:
            hidden[:, start:] += push

        with torch.inference_mode(), ExitStack() as stack:
            blocks = find_blocks(model.network)
            stack.enter_context(oracles.output_changed(blocks[1], add))
            kept = [stack.enter_context(oracles.outputs_kept(blocks[layer])) for layer in layers]
            model.network(input_ids=whole.ids)
        for index, layer in enumerate(layers):
            assert close(cached.values(layer)[row], kept[index][0][0])
            unsteered, steered = clean.values(layer)[row], cached.values(layer)[row]
            assert close(steered[:start], unsteered[:start])
            assert len(unsteered) == len(prompt) + 9
            assert not close(steered[start:], unsteered[start:]) or start >= len(unsteered)


def _residuals_with_cache(
    model: LanguageModel, answers: Sequence[Sequence[int]], layers: Sequence[int], *interventions: Intervention
) -> Capture:
    """Prefill of the left-padded prompts, then the answers token by token."""
    from transformers import DynamicCache

    capture, cache = Capture(layers), DynamicCache(config=model.network.config)
    ids, mask, positions = BATCH.ids, BATCH.mask, BATCH.positions
    with torch.inference_mode(), intervene(model.network, *interventions, capture):
        for token in [*torch.tensor(answers).T[..., None], None]:
            model.network(
                input_ids=ids, attention_mask=mask, position_ids=positions, past_key_values=cache, use_cache=True
            )
            if token is not None:
                ids, positions = token, positions[:, -1:] + 1
                mask = torch.cat([mask, torch.ones_like(token)], dim=1)
    return capture


N_ROWS = 20
MANY = random_ids([2 + 3 * (index % 6) for index in range(N_ROWS)], seed=41)
PUSHES = torch.randn(N_ROWS, D_MODEL, generator=torch.Generator().manual_seed(3)) * 2
SAMPLING = Sampling(max_new_tokens=12, temperature=0.7, seed=1)


def test_the_right_rows_stay_steered_while_others_finish(model: LanguageModel, folder: Path) -> None:
    """Rows end at different steps and leave, some at once and some later; each is as if it were alone."""
    network = oracles.fresh_model(folder)
    network.generation_config.eos_token_id = list(range(0, 256, 9))
    stopping = LanguageModel(model.spec, network, model.tokenizer)
    strengths = [float(index % 4 - 1) for index in range(N_ROWS)]
    starts = [len(prompt) + index % 3 for index, prompt in enumerate(MANY)]
    keys = [str(index) for index in range(N_ROWS)]

    together = generate(stopping, MANY, SAMPLING, keys, [Steer(1, PUSHES, strengths, Positions(starts))])
    clean = generate(stopping, MANY, SAMPLING, keys)
    for row, prompt in enumerate(MANY):
        own = Steer(1, PUSHES[row], strengths[row], Positions(starts[row]))
        assert generate(stopping, [prompt], SAMPLING, [keys[row]], [own]) == [together[row]]
        same_until = starts[row] - len(prompt) + 1
        assert together[row].ids[:same_until] == clean[row].ids[:same_until]
        assert strengths[row] != 0 or together[row] == clean[row]
    assert sum(one != other for one, other in zip(together, clean, strict=True)) > N_ROWS / 3
    assert len({len(completion.ids) for completion in together}) >= 4
