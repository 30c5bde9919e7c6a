"""Dose and response of every trait as one picture."""

import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from analysis.dose_response import DoseResponse
from analysis.separation import HALVES
from interp.files import write_bytes
from interp.stats import Floats

_COLUMNS = 4


def save_dose_figure(path: Path, responses: Sequence[DoseResponse]) -> None:
    """A panel per trait: mean shift by strength on the half that reports, each method at its chosen layer.

    Grey: the range of the random directions of all methods.
    """
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    traits = sorted({response.trait for response in responses})
    rows, columns = math.ceil(len(traits) / _COLUMNS), min(len(traits), _COLUMNS)
    figure, axes = plt.subplots(
        rows, columns, figsize=(0.6 + 3.1 * columns, 1.2 + 2.4 * rows), layout="constrained", squeeze=False, sharex=True
    )
    for panel, trait in zip(axes.flat, traits, strict=False):
        _draw(panel, trait, [response for response in responses if response.trait == trait])
    for panel in axes.flat[len(traits) :]:
        panel.set_visible(False)
    figure.supxlabel("strength, in lengths of the vector")
    figure.supylabel("log-odds of showing the trait\nsteered − not, nats per token")
    known: dict[str, Any] = {}
    for panel in axes.flat:
        handles, labels = panel.get_legend_handles_labels()
        known |= dict(zip(labels, handles, strict=True))
    figure.legend(known.values(), known.keys(), loc="outside upper center", ncols=3, fontsize=8)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=130, metadata={"Software": None})
    plt.close(figure)
    write_bytes(path, buffer.getvalue())


def _draw(panel: Any, trait: str, responses: Sequence[DoseResponse]) -> None:
    shifts = {each.method: each.shift[:, each.chosen, :, HALVES["report"]].mean(axis=-1) for each in responses}
    strengths = responses[0].strengths
    controls = np.concatenate([shift[1:] for shift in shifts.values()])
    x = np.array(sorted([*strengths, 0.0]))
    place = int(np.searchsorted(strengths, 0.0))

    def through_zero(values: Floats) -> Floats:
        return np.insert(values, place, 0.0)

    low, high = through_zero(controls.min(axis=0)), through_zero(controls.max(axis=0))
    panel.fill_between(x, low, high, color="0.8", label="random directions")
    for number, (method, shift) in enumerate(sorted(shifts.items())):
        panel.plot(x, through_zero(shift[0]), color=f"C{number}", marker="osD^vP"[number % 6], ms=3, label=method)
    panel.axhline(0, color="0.5", lw=0.6)
    panel.set_title(trait, fontsize=9)
