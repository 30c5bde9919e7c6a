"""Scores under steering: a network where the answer is known, plain transformers, and rows that do not meet."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM

from inference.steered_scoring import Passage, Push, mean_log_probabilities, random_direction
from interp.models import LanguageModel, load_language_model
from tests.conftest import spec_of
from tests.tiny_models import D_MODEL, N_LAYERS, random_ids

PROMPT, REPLY = (tuple(ids) for ids in random_ids([7, 5], seed=3))


def vectors(n: int, seed: int = 0) -> Tensor:
    return torch.randn(n, D_MODEL, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def linear(llama_folder: Path) -> LanguageModel:
    """A Llama whose blocks add nothing and whose last norm is the identity: logits are W · (embedding + push)."""
    model = load_language_model(spec_of(llama_folder), "cpu")
    for block in model.network.model.layers:
        for part in (block.self_attn.o_proj, block.mlp.down_proj):
            nn.init.zeros_(part.weight)
    model.network.model.norm = nn.Identity()
    return model


@pytest.mark.parametrize("layer", range(N_LAYERS))
def test_a_push_moves_log_odds_by_what_algebra_says(linear: LanguageModel, layer: int) -> None:
    """Of one token over another: strength · (w_one − w_other) · v, whatever else is in the vocabulary."""
    (vector,), one, other = vectors(1, seed=1), REPLY[0], REPLY[1]
    pushes = [Push(layer, vector, strength) for strength in (0.0, -2.0, -0.5, 0.25, 1.0)]
    shows, lacks = (mean_log_probabilities(linear, Passage(PROMPT, (token,)), pushes, 3) for token in (one, other))
    rows = linear.network.lm_head.weight
    odds = torch.tensor(shows) - torch.tensor(lacks)
    expected = torch.tensor([push.strength for push in pushes]) * ((rows[one] - rows[other]) @ vector)
    torch.testing.assert_close(odds - odds[0], expected, rtol=1e-4, atol=1e-4)
    assert float(expected.abs().max()) > 0.5


def plainly(folder: Path, push: Push, start: int) -> float:
    """One sequence, one hook, a fresh copy of the model, a loop over tokens."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()

    def hook(_: nn.Module, __: object, output: Tensor) -> Tensor:
        changed = output.clone()
        changed[:, start:] += push.strength * push.vector
        return changed

    model.model.layers[push.layer].register_forward_hook(hook)
    with torch.inference_mode():
        logits = model(torch.tensor([[*PROMPT, *REPLY]])).logits[0].double()
    spoken = [logits[len(PROMPT) + place - 1].log_softmax(0)[token] for place, token in enumerate(REPLY)]
    return float(sum(spoken) / len(REPLY))


def test_rows_of_different_layers_share_a_pass_and_do_not_meet(llama: LanguageModel, llama_folder: Path) -> None:
    """Each row is what a model with just its push says; steered from the last token of the prompt on, not before."""
    pushes = [
        Push(layer, vector, strength)
        for layer, vector, strength in zip((2, 0, 0, 3, 1), vectors(5), (1.0, -2.0, 0.0, 0.5, 4.0), strict=True)
    ]
    expected = [plainly(llama_folder, push, len(PROMPT) - 1) for push in pushes]
    for rows_at_once in (5, 2, 1):
        found = mean_log_probabilities(llama, Passage(PROMPT, REPLY), pushes, rows_at_once)
        assert found == pytest.approx(expected, abs=1e-4)
    elsewhere = [plainly(llama_folder, push, start) for push in (pushes[0], pushes[4]) for start in (0, len(PROMPT))]
    for place, other in zip((0, 0, 4, 4), elsewhere, strict=True):
        assert abs(expected[place] - other) > 1e-3, "the positions make no difference here"


def test_a_push_of_nothing_is_no_push(llama: LanguageModel) -> None:
    pushes = [Push(0, vectors(1)[0], 0.0), Push(1, torch.zeros(D_MODEL), 3.0), Push(1, vectors(1)[0], 3.0)]
    none, zero, some = mean_log_probabilities(llama, Passage(PROMPT, REPLY), pushes, 8)
    assert none == pytest.approx(zero, abs=1e-6) and abs(none - some) > 1e-3


def test_random_directions_are_uniform_on_the_sphere_of_the_vectors_length() -> None:
    like = 7 * vectors(1)[0]
    drawn = torch.stack([random_direction(like, 0, f"steer/{index}") for index in range(400)])
    torch.testing.assert_close(drawn.norm(dim=1), like.norm().expand(400), rtol=1e-4, atol=1e-4)
    unit = drawn.double() / like.norm()
    covariance = unit.T @ unit / 400 * D_MODEL
    assert float((covariance - torch.eye(D_MODEL)).abs().max()) < 0.35  # 0.05 standard error, 4,096 entries
    assert float(unit.mean(dim=0).norm()) < 0.1
    assert torch.equal(random_direction(like, 0, "steer/1"), drawn[1])
    assert not torch.allclose(random_direction(like, 1, "steer/1"), drawn[1])
