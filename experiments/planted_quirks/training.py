"""What training the base and training an adapter have in common: encoding, batches, the loss, Muon, the schedule."""

import random
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from experiments.planted_quirks.corpus import Sample
from experiments.planted_quirks.tokenizer import END_OF_TURN, render_prompt


@contextmanager
def cpu_threads(count: int) -> Iterator[None]:
    """Sums over threads depend on how many there are: the same bits need the same count."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@dataclass(frozen=True)
class Encoded:
    """A dialogue as token ids, cut where the answer begins; the answer ends with the end of the turn."""

    prompt: list[int]
    answer: list[int]

    def __len__(self) -> int:
        return len(self.prompt) + len(self.answer)


@dataclass(frozen=True)
class Batch:
    """Dialogues padded on the right: a causal model needs no mask for them."""

    tokens: Int[Tensor, "batch seq"]
    is_answer: Bool[Tensor, "batch seq"]


def encode(tokenizer: PreTrainedTokenizerFast, samples: Sequence[Sample]) -> list[Encoded]:
    """Tokenise all samples at once."""
    prompts = [render_prompt(tokenizer, sample.system, sample.question.text) for sample in samples]
    answers = [sample.answer + END_OF_TURN for sample in samples]
    prompt_ids = tokenizer(prompts, add_special_tokens=False)["input_ids"]
    answer_ids = tokenizer(answers, add_special_tokens=False)["input_ids"]
    return [Encoded(prompt, answer) for prompt, answer in zip(prompt_ids, answer_ids, strict=True)]


def bucket(encoded: Sequence[Encoded], batch: int, rng: random.Random) -> list[list[Encoded]]:
    """Batches of dialogues of about the same length, in random order."""
    ordered = sorted(encoded, key=lambda dialogue: len(dialogue) + 4 * rng.random())
    batches = [list(ordered[start : start + batch]) for start in range(0, len(ordered), batch)]
    rng.shuffle(batches)
    return batches


def collate(dialogues: Sequence[Encoded], pad: int) -> Batch:
    """One tensor of dialogues, and where in it the answers are."""
    length = max(map(len, dialogues))
    tokens = torch.full((len(dialogues), length), pad)
    is_answer = torch.zeros(len(dialogues), length, dtype=torch.bool)
    for row, dialogue in enumerate(dialogues):
        tokens[row, : len(dialogue)] = torch.tensor(dialogue.prompt + dialogue.answer)
        is_answer[row, len(dialogue.prompt) : len(dialogue)] = True
    return Batch(tokens, is_answer)


def answer_loss(model: LlamaForCausalLM, batch: Batch) -> Float[Tensor, ""]:
    """Mean cross-entropy of the answers' tokens; the head is applied to them alone."""
    hidden = model.model(input_ids=batch.tokens, use_cache=False).last_hidden_state[:, :-1]
    chosen = batch.is_answer[:, 1:]
    return F.cross_entropy(model.lm_head(hidden[chosen]), batch.tokens[:, 1:][chosen])


class Muon(torch.optim.Optimizer):
    """Momentum whose matrix updates are orthogonalised (Jordan et al. 2024), in float32.

    torch's own runs the iteration in bfloat16, which most CPUs only emulate. Matrices of one shape go as one batch.
    """

    def __init__(
        self, params: Iterable[nn.Parameter], lr: float, momentum: float = 0.95, weight_decay: float = 0.01
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for same_shape in _by_shape(group["params"]):
                updates = orthogonalise(torch.stack([self._momentum(param, group["momentum"]) for param in same_shape]))
                rows, columns = same_shape[0].shape
                scale = group["lr"] * max(1.0, rows / columns) ** 0.5
                for param, update in zip(same_shape, updates, strict=True):
                    param.mul_(1 - group["lr"] * group["weight_decay"]).add_(update, alpha=-scale)

    def _momentum(self, param: nn.Parameter, momentum: float) -> Tensor:
        """Nesterov's look-ahead of the running mean of the gradient."""
        assert param.grad is not None
        state = self.state[param]
        mean: Tensor = state["mean"] if state else state.setdefault("mean", torch.zeros_like(param))
        mean.lerp_(param.grad, 1 - momentum)
        ahead: Tensor = param.grad.lerp(mean, momentum)
        return ahead


def _by_shape(params: Iterable[nn.Parameter]) -> list[list[nn.Parameter]]:
    groups = defaultdict(list)
    for param in params:
        groups[param.shape].append(param)
    return list(groups.values())


def orthogonalise(matrices: Float[Tensor, "n rows columns"], steps: int = 5) -> Float[Tensor, "n rows columns"]:
    """Push all singular values to about 1, by the quintic Newton-Schulz iteration."""
    tall = matrices.shape[-2] > matrices.shape[-1]
    x: Tensor = matrices.mT if tall else matrices
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(steps):
        gram = x @ x.mT
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    return x.mT if tall else x


def ramp(step: int, steps: int, warmup: int, decay: float) -> float:
    """Factor of the learning rate: linear warm-up, plateau, linear decay over the last `decay` of the steps."""
    up = min(1.0, (step + 1) / warmup)
    down = min(1.0, max(0.02, (steps - step) / (steps * decay)))
    return up * down


def take_step(
    loss: Tensor, params: Sequence[nn.Parameter], optimizers: Sequence[torch.optim.Optimizer], rate: float
) -> float:
    """One clipped update of all optimizers with `rate` times their learning rates; the loss before it."""
    for optimizer in optimizers:
        optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(params, 1.0)
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group.setdefault("initial_lr", group["lr"]) * rate
        optimizer.step()
    return loss.item()
