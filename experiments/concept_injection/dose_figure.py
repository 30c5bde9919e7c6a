"""Dose and response of a sweep as one picture: a panel for each layer, the controls beside."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.concept_injection.log_odds import LogOddsCell
from experiments.concept_injection.rates import CellRates, Measure, Rates
from experiments.concept_injection.request import Condition
from interp.files import write_bytes
from interp.stats import Interval

_CURVES: tuple[tuple[Condition, Measure, str, str, str], ...] = (
    ("injection", "named", "#c2560a", "o", "names the injected concept"),
    ("injection", "claims", "#1f62b3", "s", "claims anything"),
    ("random", "claims", "#6b7280", "^", "claims anything, random direction"),
)


def save_dose_figure(folder: Path, rates: Rates | None, shifts: Sequence[LogOddsCell]) -> list[Path]:
    """`dose_response.png` and `.svg` over all concepts: rates (None: not judged) above, log-odds below.

    Nothing is written where there is neither.
    """
    import matplotlib

    matplotlib.use("Agg")
    cells = [] if rates is None else [each for each in rates.cells if each.cell.concept is None]
    found = _Panels(rates, [each for each in cells if each.cell.layer is not None],
                    [each for each in shifts if each.concept is None])  # fmt: skip
    if not (found.cells or found.odds):
        return []
    with matplotlib.rc_context({"svg.hashsalt": "dose_response", "svg.fonttype": "none"}):
        figure = found.draw()
        return [_save(figure, folder / f"dose_response.{ending}") for ending in ("png", "svg")]


@dataclass(frozen=True)
class _Panels:
    """What is drawn: a row of panels for rates and one for log-odds, as far as there are any; a column per layer."""

    rates: Rates | None
    cells: Sequence[CellRates]
    odds: Sequence[LogOddsCell]

    def draw(self) -> Any:
        import matplotlib.pyplot as plt

        layers = sorted({each.cell.layer or 0 for each in self.cells} | {each.layer for each in self.odds})
        draws = [draw for draw, there in ((self._draw_rates, self.cells), (self._draw_odds, self.odds)) if there]
        size = (1.2 + 2.6 * len(layers), 1.2 + 2.3 * len(draws))
        figure, axes = plt.subplots(
            len(draws), len(layers), figsize=size, layout="constrained", squeeze=False, sharex=True, sharey="row"
        )
        for panels, draw in zip(axes, draws, strict=True):
            for panel, layer in zip(panels, layers, strict=True):
                panels[0].set_ylabel(draw(panel, layer))
        for panel, layer in zip(axes[0], layers, strict=True):
            panel.set_title(f"layer {layer}", fontsize=9)
        figure.supxlabel("strength")
        _legend(figure, axes)
        return figure

    def _draw_rates(self, panel: Any, layer: int) -> str:
        assert self.rates is not None
        _draw_rates(panel, self.rates, [each for each in self.cells if each.cell.layer == layer])
        return "share of judged trials"

    def _draw_odds(self, panel: Any, layer: int) -> str:
        _draw_log_odds(panel, [each for each in self.odds if each.layer == layer])
        return "log-odds of yes, less\nyes-bias (nats)"


def _draw_rates(panel: Any, rates: Rates, cells: Sequence[CellRates]) -> None:
    if rates.control.judged:
        _band(panel, rates.control.share("claims"), "claims anything, nothing injected")
    strengths = [each.cell.strength or 0.0 for each in cells]
    apart = 0.012 * (max(strengths) - min(strengths)) if strengths else 0.0
    for place, (condition, measure, colour, marker, label) in enumerate(_CURVES):
        points = [each for each in cells if each.cell.condition == condition and each.tally.judged]
        curve = [((each.cell.strength or 0.0) + (place - 1) * apart, each.rate(measure)) for each in points]
        _curve(panel, curve, colour, marker, label)
    panel.set_ylim(-0.03, 1.03)


def _draw_log_odds(panel: Any, cells: Sequence[LogOddsCell]) -> None:
    points = [each for each in cells if each.condition == "injection"]
    bounded = [each for each in points if each.random_low is not None]
    panel.fill_between(
        [each.strength for each in bounded], [each.random_low for each in bounded],
        [each.random_high for each in bounded], color="0.85", label="range of the random directions",
    )  # fmt: skip
    values = [each.interval or Interval(each.corrected, each.corrected, each.corrected) for each in points]
    curve = list(zip([each.strength for each in points], values, strict=True))
    _curve(panel, curve, "#c2560a", "D", "log-odds, concept's vector")
    panel.axhline(0, color="0.5", lw=0.6)


def _curve(panel: Any, points: Sequence[tuple[float, Interval]], colour: str, marker: str, label: str) -> None:
    if points:
        y = [interval.estimate for _, interval in points]
        below = [max(interval.estimate - interval.low, 0) for _, interval in points]
        above = [max(interval.high - interval.estimate, 0) for _, interval in points]
        x = [strength for strength, _ in points]
        panel.errorbar(x, y, yerr=[below, above], color=colour, marker=marker, ms=4, lw=1.4, capsize=2, label=label)


def _band(panel: Any, interval: Interval, label: str) -> None:
    panel.axhspan(interval.low, interval.high, color="0.85", lw=0, label=label)
    panel.axhline(interval.estimate, color="0.5", lw=0.8, ls="--")


def _legend(figure: Any, axes: Any) -> None:
    known: dict[str, Any] = {}
    for panel in axes.flat:
        handles, labels = panel.get_legend_handles_labels()
        known |= dict(zip(labels, handles, strict=True))
    figure.legend(known.values(), known.keys(), loc="outside upper center", ncols=2, fontsize=8)


def _save(figure: Any, path: Path) -> Path:
    import matplotlib.pyplot as plt

    buffer = io.BytesIO()
    nothing = {"Software": None} if path.suffix == ".png" else {"Date": None, "Creator": None}
    figure.savefig(buffer, format=path.suffix.removeprefix("."), dpi=130, metadata=nothing)
    write_bytes(path, buffer.getvalue())
    if path.suffix == ".svg":
        plt.close(figure)
    return path
