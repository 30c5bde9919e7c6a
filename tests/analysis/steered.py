"""Steering with known outcomes: what a text gains per strength is chosen, for each layer, direction and text; so are
replies."""

from collections.abc import Callable, Mapping, Sequence
from itertools import product
from typing import Any

import pyarrow as pa

from interp.records import Sampling
from interp.steering_store import (
    RESPONSES,
    STEERED,
    ResponsesProvenance,
    SteeredResponses,
    Steering,
    SteeringProvenance,
)

STRENGTHS = (-2.0, -0.5, 0.0, 1.0, 2.0)
Slope = Callable[[str, str, int, int], float]
"""(method, direction, layer, item) to nats per strength."""
Reply = Callable[..., str]
"""(method, direction, layer, strength, question) to a reply."""


def planted_steering(
    trait: str, vectors: Mapping[str, str], layers: Sequence[int], n_items: int, slope: Slope, n_random: int = 2
) -> Steering:
    """Text that shows the trait gains `slope` per strength, its twin loses half of it; a vector's neutral text loses
    0.1 · strength²."""
    texts = [(text, item) for text in ("shows", "lacks", "neutral") for item in range(n_items)]
    rows = []
    for text, item in texts:
        rows.append(_row(None, None, None, 0.0, text, item, 0.0))
        for method in vectors:
            for direction in ("vector", *(f"random-{index}" for index in range(n_random))):
                for layer in layers:
                    for strength in filter(None, STRENGTHS):
                        gain = slope(method, direction, layer, item) * strength
                        moved = {"shows": gain / 2, "lacks": -gain / 2, "neutral": -0.1 * strength**2}[text]
                        rows.append(_row(method, direction, layer, strength, text, item, moved))
    provenance = SteeringProvenance(
        trait=trait, model="base", revision=None, identity="i", readout="own-answers",
        items=tuple(f"q{item}" for item in range(n_items)), neutral_items=tuple(f"q{item}" for item in range(n_items)),
        vectors=dict(vectors), layers=tuple(layers), strengths=STRENGTHS, n_random=n_random,
    )  # fmt: skip
    return Steering(pa.Table.from_pylist(rows, STEERED), provenance)


def _row(
    method: str | None, direction: str | None, layer: int | None, strength: float, text: str, item: int, moved: float
) -> dict[str, object]:
    """An unsteered text has a log-probability of its own, so that only differences mean anything."""
    unsteered = {"shows": -3.0, "lacks": -1.0, "neutral": -2.0}[text] - 0.1 * item
    where = {"method": method, "direction": direction, "layer": layer, "strength": strength, "text": text, "item": item}
    return {**where, "n_tokens": 5, "log_probability": unsteered + moved}


def planted_responses(
    trait: str, vectors: Mapping[str, str], layers: Sequence[int], n_questions: int, reply: Reply, n_random: int = 1
) -> SteeredResponses:
    """Replies that are chosen for each push and question; `reply` is given null, null, null and 0 without steering."""
    directions = ("vector", *(f"random-{index}" for index in range(n_random)))
    pushes: list[tuple[Any, ...]] = [(None, None, None, 0.0)]
    pushes += product(vectors, directions, layers, filter(None, STRENGTHS))
    names = ("method", "direction", "layer", "strength", "item", "text")
    rows = [
        {**dict(zip(names, (*push, item, reply(*push, item)), strict=True)), "n_tokens": 3, "stopped": True}
        for item in range(n_questions)
        for push in pushes
    ]
    provenance = ResponsesProvenance(
        trait=trait, model="base", revision=None, identity="i", questions=tuple(f"q{i}" for i in range(n_questions)),
        vectors=dict(vectors), layers=tuple(layers), strengths=STRENGTHS, n_random=n_random, sampling=Sampling(),
    )  # fmt: skip
    return SteeredResponses(pa.Table.from_pylist(rows, RESPONSES), provenance)
