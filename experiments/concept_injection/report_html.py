"""A sweep's report as one HTML file: what it shows, and which replies it can be read in."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any

from experiments.concept_injection.claims import NOT_ASKED, JudgedTrial
from experiments.concept_injection.headlines import Headlines, coverage_rows, run_facts
from experiments.concept_injection.rate_tables import Row
from experiments.concept_injection.request import CONTROL
from experiments.concept_injection.results import Results
from interp.pages import single_page
from interp.pages.single_page import BASE_STYLE, as_script_data, shared_script

PAGE = Path(__file__).resolve().parent / "report_page"
SCRIPTS = ("view", "heatmap", "curves", "replies", "sections", "main")
"""The page's own script, in the order in which its parts are joined."""
SHARED = ("dom", "table", "grid", "scales")
REPLIES_BYTES = 20_000_000
"""What the replies may come to; with more, fewer of each cell are shown."""
CONTROL_TIMES = 20
"""The control is one cell for all: so many times as many of its replies are shown."""


def page_files() -> list[Path]:
    """The parts of the page."""
    return [single_page.TEMPLATE, *_styles(), *_scripts()]


def report_page(
    title: str, results: Results, said: Headlines, rate_rows: Sequence[Row], odds_rows: Sequence[Row], samples: int
) -> str:
    """The page; what models and judges wrote is in it as data alone."""
    replies = replies_within(results.trials, samples, REPLIES_BYTES)
    data = {
        "title": title,
        "warnings": said.warnings,
        "findings": said.findings,
        "unjudged": results.unjudged,
        "judged": results.judge is not None,
        "facts": run_facts(results),
        "coverage": coverage_rows(results),
        "rates": rate_rows,
        "log_odds": odds_rows,
        "replies": replies,
        "trials": len(results.trials),
    }
    return single_page.render(f"{title}: concept injection", _styles(), _scripts(), data)


def replies_within(trials: Sequence[JudgedTrial], samples: int, room: int) -> list[Row]:
    """Up to `samples` replies of each cell and concept, fewer where they would take more bytes than `room`."""
    found = sampled(trials, samples)
    while samples > 1 and len(as_script_data(found)) > room:
        samples //= 2
        found = sampled(trials, samples)
    return found


def sampled(trials: Iterable[JudgedTrial], most: int) -> list[Row]:
    """Replies of each cell, all outcomes in turn, so that the rare ones are there."""
    cells: dict[tuple[object, ...], dict[str, list[JudgedTrial]]] = defaultdict(lambda: defaultdict(list))
    for trial in trials:
        config = trial.record.config
        cell = (trial.record.concept, config.condition, config.layer, config.strength)
        cells[cell][trial.claim.outcome].append(trial)
    rows = []
    for (_, condition, *_), by_outcome in cells.items():
        in_turn = (each for each in chain(*zip_longest(*by_outcome.values())) if each is not None)
        room = most * (CONTROL_TIMES if condition == CONTROL else 1)
        rows += [_reply(trial) for trial, _ in zip(in_turn, range(room), strict=False)]
    return rows


def _reply(trial: JudgedTrial) -> Row:
    record, line = trial.record, trial.line
    verdict: dict[str, Any] = (line.verdict if line else None) or {}
    error = None if verdict else NOT_ASKED if line is None else line.error or "no verdict"
    return {
        "id": record.id, "concept": record.concept, "condition": record.config.condition, "layer": record.config.layer,
        "strength": record.config.strength, "direction": record.config.direction, "outcome": trial.claim.outcome,
        "response": record.response, "claimed": verdict.get("claimed_concept"), "reasoning": verdict.get("reasoning"),
        "error": error,
    }  # fmt: skip


def _styles() -> list[Path]:
    return [BASE_STYLE, PAGE / "style.css"]


def _scripts() -> list[Path]:
    return [*(shared_script(name) for name in SHARED), *(PAGE / f"{name}.js" for name in SCRIPTS)]
