"""Batched generation gives each row what it would get alone, whatever else is in the batch."""

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from interp.errors import InputError
from interp.generation import Completion, generate, pad_left
from interp.interventions import Positions, Steer
from interp.models import LanguageModel
from interp.records import Sampling
from tests import oracles
from tests.tiny_models import END_OF_TURN, SLIDING_WINDOW, random_ids

LENGTHS = (3, 19, 8, 1, 12, 25)
PROMPTS = random_ids(LENGTHS, seed=11)
KEYS = [f"prompt_{index}" for index in range(len(PROMPTS))]
LIMIT = 14
GREEDY = Sampling(max_new_tokens=LIMIT)
DRAWN = Sampling(max_new_tokens=LIMIT, temperature=0.9, seed=3)


@pytest.fixture(scope="module")
def stopping_model(model: LanguageModel, folder: Path) -> LanguageModel:
    """Each architecture, with stop tokens chosen so that greedy rows end at different steps, one not at all."""
    free = [oracles.greedy(model.network, prompt, LIMIT)[0] for prompt in PROMPTS]
    stops = {free[0][2], free[1][5], free[2][0], free[4][LIMIT - 1]}
    network = oracles.fresh_model(folder)
    network.generation_config.eos_token_id = sorted(stops)
    return LanguageModel(model.spec, network, model.tokenizer)


@pytest.fixture(scope="module")
def expected(stopping_model: LanguageModel, folder: Path) -> list[Completion]:
    """The same prompts read again from the start for every token, one at a time, without a cache."""
    reference = oracles.fresh_model(folder)
    rows = [oracles.greedy(reference, prompt, LIMIT, stopping_model.stop_ids) for prompt in PROMPTS]
    return [Completion(tuple(ids), stop) for ids, stop in rows]


def test_rows_stop_at_different_steps(expected: list[Completion]) -> None:
    """What the other tests rest on."""
    assert len({len(completion.ids) for completion in expected}) >= 3
    assert len({completion.stop_token for completion in expected}) >= 3
    assert max(len(prompt) for prompt in PROMPTS) > SLIDING_WINDOW


def test_greedy_batch_is_each_prompt_alone(stopping_model: LanguageModel, expected: list[Completion]) -> None:
    assert generate(stopping_model, PROMPTS, GREEDY, KEYS) == expected
    assert [generate(stopping_model, [prompt], GREEDY, ["-"])[0] for prompt in PROMPTS] == expected


def test_greedy_batch_is_what_transformers_generates(
    stopping_model: LanguageModel, folder: Path, expected: list[Completion]
) -> None:
    batch = pad_left(PROMPTS, 0, "cpu")
    with torch.inference_mode():
        output = oracles.fresh_model(folder).generate(
            input_ids=batch.ids,
            attention_mask=batch.mask,
            do_sample=False,
            max_new_tokens=LIMIT,
            eos_token_id=list(stopping_model.stop_ids),
            pad_token_id=0,
        )
    rows = [_until_stop(row, stopping_model.stop_ids) for row in output[:, batch.ids.shape[1] :].tolist()]
    assert rows == expected == generate(stopping_model, PROMPTS, GREEDY, KEYS)


def _until_stop(row: Sequence[int], stops: Sequence[int]) -> Completion:
    for step, token in enumerate(row):
        if token in stops:
            return Completion(tuple(row[:step]), token)
    return Completion(tuple(row), None)


def test_left_padded_logits_are_each_prompts_own(model: LanguageModel, folder: Path) -> None:
    reference = oracles.fresh_model(folder)
    batch = pad_left(PROMPTS, 0, "cpu")
    with torch.inference_mode():
        padded = model.network(input_ids=batch.ids, attention_mask=batch.mask, position_ids=batch.positions).logits
        unmasked = model.network(input_ids=batch.ids, position_ids=batch.positions).logits
    for row, prompt in enumerate(PROMPTS):
        alone = oracles.logits_of(reference, prompt)
        torch.testing.assert_close(padded[row, -len(prompt) :], alone, atol=1e-3, rtol=1e-3)
    assert not torch.allclose(unmasked[0, -1], padded[0, -1], atol=0.1)


def test_finished_rows_leave_the_batch(stopping_model: LanguageModel, expected: list[Completion]) -> None:
    sizes: list[int] = []
    handle = stopping_model.backbone.register_forward_pre_hook(
        lambda _, args, kwargs: sizes.append(len(kwargs["input_ids"])), with_kwargs=True
    )
    generate(stopping_model, PROMPTS, GREEDY, KEYS)
    handle.remove()
    steps_needed = [len(completion.ids) + (completion.stop_token is not None) for completion in expected]
    assert sizes == [sum(step < needed for needed in steps_needed) for step in range(max(steps_needed))]


def test_rows_that_linger_after_their_end_change_nothing(stopping_model: LanguageModel) -> None:
    """In a big batch a finished row stays until enough others have finished with it."""
    prompts = random_ids([3 + 5 * (index % 4) for index in range(18)] + [7, 9, 19], seed=12) + PROMPTS
    keys = [str(index) for index in range(len(prompts))]
    sizes: list[int] = []
    handle = stopping_model.backbone.register_forward_pre_hook(
        lambda _, args, kwargs: sizes.append(len(kwargs["input_ids"])), with_kwargs=True
    )
    together = generate(stopping_model, prompts, GREEDY, keys)
    handle.remove()
    assert together == [generate(stopping_model, [prompt], GREEDY, ["-"])[0] for prompt in prompts]
    steps = [len(row.ids) + (row.stop_token is not None) for row in together]
    lingering = [size - sum(step < needed for needed in steps) for step, size in enumerate(sizes)]
    assert max(lingering) > 0
    assert all(count < len(prompts) / 8 for count in lingering)


def test_ends_when_every_row_has_stopped(stopping_model: LanguageModel, expected: list[Completion]) -> None:
    sizes: list[int] = []
    handle = stopping_model.backbone.register_forward_pre_hook(lambda *_: sizes.append(1))
    assert generate(stopping_model, [PROMPTS[2]], GREEDY, ["-"]) == [expected[2]]
    handle.remove()
    assert expected[2] == Completion((), expected[2].stop_token) and len(sizes) == 1


def test_length_limit_is_no_stop_token(llama: LanguageModel, llama_folder: Path) -> None:
    """A stop token at the very last step still counts as one."""
    ids, _ = oracles.greedy(oracles.fresh_model(llama_folder), PROMPTS[1], 6)
    network = oracles.fresh_model(llama_folder)
    network.generation_config.eos_token_id = ids[5]
    model = LanguageModel(llama.spec, network, llama.tokenizer)
    assert model.stop_ids == tuple(sorted({ids[5], END_OF_TURN}))
    assert ids[5] not in ids[:5]
    last = [generate(model, [PROMPTS[1]], Sampling(max_new_tokens=limit), ["-"])[0] for limit in (5, 6)]
    assert last == [Completion(tuple(ids[:5]), None), Completion(tuple(ids[:5]), ids[5])]


def test_a_model_without_stop_or_padding_tokens_runs_to_the_limit(llama: LanguageModel, llama_folder: Path) -> None:
    network, tokenizer = oracles.fresh_model(llama_folder), llama.tokenizer.__class__.from_pretrained(llama_folder)
    network.generation_config.eos_token_id = tokenizer.eos_token = None
    model = LanguageModel(llama.spec, network, tokenizer)
    assert model.stop_ids == () and tokenizer.pad_token_id is None
    assert [len(row.ids) for row in generate(model, PROMPTS[:2], GREEDY, KEYS[:2])] == [LIMIT, LIMIT]


def test_pad_left_is_a_loop() -> None:
    batch = pad_left([[5], [6, 7, 8]], padding=9, device="cpu")
    assert batch.ids.tolist() == [[9, 9, 5], [6, 7, 8]]
    assert batch.mask.tolist() == [[0, 0, 1], [1, 1, 1]]
    assert batch.positions.tolist() == [[0, 0, 0], [0, 1, 2]]


PREFIX = random_ids([18], seed=5)[0]
FORKED = [PREFIX + tail for tail in random_ids([7] * 5, seed=6)]
"""Prompts of one length that share more than a sliding window."""


def test_a_shared_prefix_changes_nothing(stopping_model: LanguageModel) -> None:
    """Also where rows leave the batch, and where the tokens after it are steered, each row in its own way."""
    vectors = torch.randn(5, stopping_model.d_model, generator=torch.Generator().manual_seed(0)) * 3
    steer = Steer(1, vectors, [0.0, 1.0, 2.0, 3.0, 4.0], Positions(20))
    assert len(PREFIX) > SLIDING_WINDOW
    for sampling, interventions in ((GREEDY, []), (DRAWN, [steer])):
        plain = generate(stopping_model, FORKED, sampling, KEYS[:5], interventions)
        for length in (1, 9, 18):
            assert generate(stopping_model, FORKED, sampling, KEYS[:5], interventions, length) == plain
        alone = [
            generate(stopping_model, [prompt], sampling, [key], [], 18)
            for prompt, key in zip(FORKED, KEYS, strict=False)
        ]
        assert interventions or [each[0] for each in alone] == plain


@pytest.mark.parametrize(
    ("prompts", "length"), [([[1, 2, 3], [1, 9, 3]], 2), ([[1, 2, 3], [1, 2]], 1), ([[1, 2], [1, 2]], 2)]
)
def test_a_prefix_that_is_not_shared_is_refused(llama: LanguageModel, prompts: list[list[int]], length: int) -> None:
    with pytest.raises(InputError, match="share their first"):
        generate(llama, prompts, GREEDY, KEYS[:2], shared_prefix=length)
