"""Sampling: from the model's own distribution, by random numbers that belong to the row."""

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from interp.generation import Completion, generate, row_uniforms
from interp.models import LanguageModel, load_language_model
from interp.records import Sampling
from tests import oracles
from tests.conftest import spec_of
from tests.tiny_models import random_ids

PROMPTS = random_ids((3, 19, 8, 1, 12, 25), seed=11)
KEYS = [f"prompt_{index}" for index in range(len(PROMPTS))]
LIMIT = 14
DRAWN = Sampling(max_new_tokens=LIMIT, temperature=0.9, seed=3)


@pytest.fixture(scope="module")
def stopping_model(model: LanguageModel, folder: Path) -> LanguageModel:
    """Each architecture, with so many stop tokens that rows end at different steps."""
    network = oracles.fresh_model(folder)
    network.generation_config.eos_token_id = list(range(0, 256, 9))
    return LanguageModel(model.spec, network, model.tokenizer)


def test_drawn_rows_do_not_depend_on_their_batch(stopping_model: LanguageModel) -> None:
    together = dict(zip(KEYS, generate(stopping_model, PROMPTS, DRAWN, KEYS), strict=True))
    assert len({len(row.ids) for row in together.values()}) > 2
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
def next_logits(llama_folder: Path) -> Tensor:
    return oracles.logits_of(oracles.fresh_model(llama_folder), PROMPTS[0])[-1].double()


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
