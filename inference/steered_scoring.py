"""How likely a model finds given replies while it is steered: no sampling, no judge."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from inference.steering_units import SteeringUnit, SteerOptions
from interp.config import Experiment
from interp.generation import row_uniforms
from interp.interventions import Positions, Steer, intervene
from interp.models import LanguageModel
from interp.vector_store import load_checked
from interp.vectors import unit


@dataclass(frozen=True)
class Passage:
    """A reply to a prompt, as token ids."""

    prompt: tuple[int, ...]
    reply: tuple[int, ...]


@dataclass(frozen=True)
class Push:
    """What is added to the residual stream at a layer: strength × vector; nothing at strength 0."""

    layer: int
    vector: Float[Tensor, " d_model"]
    strength: float


PlannedPush = tuple[dict[str, Any], Push]
"""The columns that name a push (`method`, `direction`, `layer`, `strength`), and the push."""


def planned_pushes(experiment: Experiment, steered: SteeringUnit, options: SteerOptions) -> list[PlannedPush]:
    """Nothing first, then every vector and its random directions, at every layer and strength."""
    layers, seed = experiment.config.layers, experiment.config.sampling.seed
    loaded = load_checked([vector.path for vector in steered.vectors], layers, d_model=None)
    none = Push(layers[0], torch.zeros_like(loaded[0].at(layers[0])), 0.0)
    planned: list[PlannedPush] = [({"method": None, "direction": None, "layer": None, "strength": 0.0}, none)]
    for layer, vector in product(layers, loaded):
        directions = {"vector": vector.at(layer)}
        for index in range(options.n_random):
            key = f"steer/{steered.trait.name}/{layer}/{index}"
            directions[f"random-{index}"] = random_direction(vector.at(layer), seed, key)
        for name, strength in product(directions, filter(None, options.strengths)):
            where = {"method": vector.method, "direction": name, "layer": layer, "strength": strength}
            planned.append((where, Push(layer, directions[name], strength)))
    return planned


@torch.inference_mode()
def mean_log_probabilities(
    model: LanguageModel, passage: Passage, pushes: Sequence[Push], rows_at_once: int
) -> list[float]:
    """The mean log-probability per token of the reply, in nats, under each push.

    Pushed is where the model says a token of the reply: from the last token of the prompt on. All rows of a pass hold
    the same text, so that there is no padding; each has a push of its own.
    """
    chunks = [pushes[start : start + rows_at_once] for start in range(0, len(pushes), rows_at_once)]
    return [value for chunk in chunks for value in _one_pass(model, passage, chunk)]


def _one_pass(model: LanguageModel, passage: Passage, pushes: Sequence[Push]) -> list[float]:
    ids = torch.tensor([[*passage.prompt, *passage.reply]] * len(pushes), device=model.device)
    targets = torch.tensor(passage.reply, device=model.device)
    with intervene(model.network, *steers(pushes, Positions(len(passage.prompt) - 1))):
        logits = model.network(input_ids=ids, use_cache=False, logits_to_keep=len(targets) + 1).logits[:, :-1]
    return [_mean_log_probability(row, targets) for row in logits]


def steers(pushes: Sequence[Push], positions: Positions) -> list[Steer]:
    """One for each layer that is pushed; the rows of other layers have strength 0 in it."""
    layers = sorted({push.layer for push in pushes if push.strength})
    vectors = torch.stack([push.vector for push in pushes])
    return [
        Steer(layer, vectors, [push.strength if push.layer == layer else 0.0 for push in pushes], positions)
        for layer in layers
    ]


def _mean_log_probability(logits: Float[Tensor, "tokens vocab"], targets: Tensor) -> float:
    chosen = logits.float().log_softmax(dim=-1).gather(1, targets[:, None])
    return float(chosen.double().mean())


def random_direction(like: Float[Tensor, " d_model"], seed: int, key: str) -> Float[Tensor, " d_model"]:
    """A direction drawn uniformly from the sphere, as long as `like`; it belongs to the seed and the key."""
    uniforms = torch.from_numpy(row_uniforms(seed, key, len(like)))
    direction: Tensor = unit(torch.special.ndtri(uniforms)).to(like.dtype) * like.norm()
    return direction
