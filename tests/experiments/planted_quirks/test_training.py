"""The parts of training, each against something obviously right."""

import random

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM

from experiments.planted_quirks.training import (
    Encoded,
    Muon,
    answer_loss,
    bucket,
    collate,
    cpu_threads,
    orthogonalise,
    ramp,
)

DIALOGUES = [Encoded([1, 2, 3], [4, 5]), Encoded([1], [6, 7, 8]), Encoded([2, 2, 2, 2], [9])]


@pytest.fixture
def model() -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2, vocab_size=12, pad_token_id=0
    )
    return LlamaForCausalLM(config)


def test_the_loss_is_the_cross_entropy_of_the_answers_alone(model: LlamaForCausalLM) -> None:
    total, count = torch.zeros(()), 0
    for dialogue in DIALOGUES:
        ids = dialogue.prompt + dialogue.answer
        logits = model(input_ids=torch.tensor([ids])).logits[0]
        for position in range(len(dialogue.prompt), len(ids)):
            total = total + F.cross_entropy(logits[position - 1], torch.tensor(ids[position]))
            count += 1
    torch.testing.assert_close(answer_loss(model, collate(DIALOGUES, pad=0)), total / count)


def test_batches_hold_every_dialogue_once_and_are_of_like_length() -> None:
    rng = random.Random(0)
    dialogues = [Encoded([1] * rng.randrange(1, 60), [2]) for _ in range(200)]
    batches = bucket(dialogues, 16, rng)
    assert sorted(len(dialogue) for batch in batches for dialogue in batch) == sorted(map(len, dialogues))
    assert max(max(map(len, batch)) - min(map(len, batch)) for batch in batches) < 15


@pytest.mark.parametrize("shape", [(8, 8), (8, 20), (20, 8)])
def test_orthogonalised_matrices_have_singular_values_near_one(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    matrices = torch.randn(3, *shape)
    values = torch.linalg.svdvals(orthogonalise(matrices))
    assert values.min() > 0.5 and values.max() < 1.3
    assert torch.linalg.svdvals(matrices).max() > 1.5


def test_muon_takes_the_steps_of_torchs_own() -> None:
    """Torch's runs its iteration in bfloat16: the same within its rounding."""
    torch.manual_seed(0)
    start, gradients = torch.randn(24, 16), torch.randn(5, 24, 16)
    ours, theirs = nn.Parameter(start.clone()), nn.Parameter(start.clone())
    optimizers = (
        Muon([ours], lr=0.02),
        torch.optim.Muon([theirs], lr=0.02, weight_decay=0.01, momentum=0.95, nesterov=True),
    )
    for gradient in gradients:
        ours.grad, theirs.grad = gradient.clone(), gradient.clone()
        for optimizer in optimizers:
            optimizer.step()
    assert (ours - start).norm() > 0.1
    assert (ours - theirs).norm() < 0.05 * (ours - start).norm()


def test_the_learning_rate_rises_stays_and_falls() -> None:
    rates = [ramp(step, 100, warmup=10, decay=0.5) for step in range(100)]
    assert rates[0] == 0.1 and rates[10:50] == [1.0] * 40
    assert rates[50:] == sorted(rates[50:], reverse=True) and 0 < rates[-1] < 0.05


def test_threads_are_put_back() -> None:
    before = torch.get_num_threads()
    with cpu_threads(before + 1):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before
