"""Steering with known slopes: what a text gains per strength is chosen, for each layer, direction and text."""

from collections.abc import Callable, Mapping, Sequence

import pyarrow as pa

from interp.steering_store import STEERED, Steering, SteeringProvenance

STRENGTHS = (-2.0, -0.5, 0.0, 1.0, 2.0)
Slope = Callable[[str, str, int, int], float]
"""(method, direction, layer, item) to nats per strength."""


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
