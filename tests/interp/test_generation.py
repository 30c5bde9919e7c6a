"""Batched generation gives each row what it would get alone, whatever else is in the batch."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from interp.generation import Completion, generate, pad_left, row_uniforms
from interp.models import LanguageModel, load_language_model
from interp.records import Sampling
from tests import oracles
from tests.conftest import spec_of
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


def test_drawn_rows_do_not_depend_on_their_batch(stopping_model: LanguageModel) -> None:
    together = dict(zip(KEYS, generate(stopping_model, PROMPTS, DRAWN, KEYS), strict=True))
    order = [4, 0, 5, 2, 1, 3]
    shuffled = generate(stopping_model, [PROMPTS[i] for i in order], DRAWN, [KEYS[i] for i in order])
    assert {KEYS[i]: row for i, row in zip(order, shuffled, strict=True)} == together
    for prompt, key in zip(PROMPTS, KEYS, strict=True):
        assert generate(stopping_model, [prompt], DRAWN, [key]) == [together[key]]


def test_draws_belong_to_seed_and_key(llama: LanguageModel) -> None:
    def draw(seed: int, key: str) -> Completion:
        return generate(llama, [PROMPTS[1]], DRAWN.model_copy(update={"seed": seed}), [key])[0]

    assert draw(3, "a") == draw(3, "a")
    assert len({draw(3, "a").ids, draw(4, "a").ids, draw(3, "b").ids}) == 3
    longer = generate(llama, [PROMPTS[1]], DRAWN.model_copy(update={"max_new_tokens": LIMIT + 5}), ["b"])[0]
    assert longer.ids[:LIMIT] == draw(3, "b").ids


def test_same_prompt_under_different_keys_differs(llama: LanguageModel) -> None:
    rows = generate(llama, [PROMPTS[0]] * 8, DRAWN, [f"sample_{index}" for index in range(8)])
    assert len({row.ids for row in rows}) == 8


def test_row_uniforms_are_uniform_reproducible_and_apart() -> None:
    one = row_uniforms(0, "a", 4000)
    assert np.array_equal(one, row_uniforms(0, "a", 4000)) and np.array_equal(one[:10], row_uniforms(0, "a", 10))
    assert one.min() >= 0 and one.max() < 1
    assert stats.kstest(one, "uniform").pvalue > 0.01
    for other in (row_uniforms(1, "a", 4000), row_uniforms(0, "b", 4000), row_uniforms(0, "a\x1f", 4000)):
        assert abs(np.corrcoef(one, other)[0, 1]) < 0.06
    first = [row_uniforms(0, f"row_{index}", 1)[0] for index in range(2000)]
    assert stats.kstest(first, "uniform").pvalue > 0.01


N_DRAWS = 3000


def next_tokens(model: LanguageModel, sampling: Sampling) -> Tensor:
    """How often each token was drawn after one prompt."""
    rows = generate(model, [PROMPTS[0]] * N_DRAWS, sampling, [str(index) for index in range(N_DRAWS)])
    tokens = [row.ids[0] if row.ids else row.stop_token for row in rows]
    return torch.bincount(torch.tensor(tokens), minlength=model.network.config.vocab_size)


def chi_square(counts: Tensor, probabilities: Tensor) -> float:
    """The p-value of the counts; the rarest tokens are taken together until five of them are expected."""
    expected, order = (probabilities.double() * counts.sum()).sort()
    rare = int((expected.cumsum(0) < 5).sum()) + 1
    observed = counts[order].double()
    return float(
        stats.chisquare(
            [float(observed[:rare].sum()), *observed[rare:].tolist()],
            [float(expected[:rare].sum()), *expected[rare:].tolist()],
        ).pvalue
    )


def warped(logits: Tensor, sampling: Sampling) -> Tensor:
    """The distribution that transformers would draw from."""
    from transformers import LogitsProcessorList, TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

    steps = LogitsProcessorList([TemperatureLogitsWarper(sampling.temperature)])
    if sampling.top_k:
        steps.append(TopKLogitsWarper(sampling.top_k))
    if sampling.top_p < 1:
        steps.append(TopPLogitsWarper(sampling.top_p))
    filtered: Tensor = steps(torch.zeros(1, 1, dtype=torch.long), logits[None])[0].softmax(-1)
    return filtered


SAMPLINGS = {
    "plain": Sampling(max_new_tokens=1, temperature=1.0, seed=5),
    "cool": Sampling(max_new_tokens=1, temperature=0.6, seed=6),
    "top_k": Sampling(max_new_tokens=1, temperature=1.0, top_k=7, seed=7),
    "top_p": Sampling(max_new_tokens=1, temperature=1.0, top_p=0.6, seed=8),
    "both": Sampling(max_new_tokens=1, temperature=1.2, top_k=20, top_p=0.7, seed=9),
}


@pytest.fixture(scope="module")
def next_logits(llama_folder: Path) -> Iterator[Tensor]:
    yield oracles.logits_of(oracles.fresh_model(llama_folder), PROMPTS[0])[-1].double()


@pytest.mark.parametrize("name", SAMPLINGS)
def test_tokens_are_drawn_from_the_models_distribution(llama: LanguageModel, next_logits: Tensor, name: str) -> None:
    sampling = SAMPLINGS[name]
    counts, probabilities = next_tokens(llama, sampling), warped(next_logits, sampling)
    assert chi_square(counts, probabilities) > 0.01
    assert chi_square(counts, next_logits.div(sampling.temperature * 1.3).softmax(-1)) < 1e-6
    assert not bool(counts[probabilities == 0].any())
    assert bool(counts[probabilities > 10 / N_DRAWS].all())


def test_extreme_filters_are_greedy(llama: LanguageModel, llama_folder: Path) -> None:
    best, _ = oracles.greedy(oracles.fresh_model(llama_folder), PROMPTS[4], LIMIT)
    for narrow in ({"top_k": 1}, {"top_p": 1e-9}, {"temperature": 1e-4}):
        drawn = generate(llama, [PROMPTS[4]], DRAWN.model_copy(update=narrow), ["-"])
        assert drawn == [Completion(tuple(best), None)]


def test_weights_loaded_again_give_the_same_draws(llama: LanguageModel, llama_folder: Path) -> None:
    other = load_language_model(spec_of(llama_folder), "cpu")
    assert generate(other, PROMPTS, DRAWN, KEYS) == generate(llama, PROMPTS, DRAWN, KEYS)
