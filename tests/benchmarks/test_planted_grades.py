"""The page of grades says what its worlds say."""

import numpy as np

from analysis.contrasts import Joined
from analysis.detection import find_entries
from analysis.grading import assign, grade
from benchmarks.planted_grades import METHOD, World, grades_section, shams_section

N_SHAMS, N_TRAITS = 6, 4
TRUTH = {"o0": "t0", "o1": "t1", **{f"s{number}": None for number in range(N_SHAMS)}}


def world(drift: float) -> World:
    """Two organisms that have moved far; shams that have moved by `drift` on every prompt and direction."""
    values = np.random.default_rng(0).normal(size=(len(TRUTH), 60, N_TRAITS))
    values[0, :, 0] += 6
    values[1, :, 1] += 6
    values[2:] += drift
    null = np.random.default_rng(1).normal(size=(len(TRUTH), 60, N_TRAITS, 16))
    null[2:] += drift
    columns = tuple((f"t{at}", METHOD, 0) for at in range(N_TRAITS))
    prompts = tuple(("set", str(at)) for at in range(60))
    joined = Joined(tuple(TRUTH), prompts, columns, values, values, null)
    shams = tuple(name for name, truth in TRUTH.items() if truth is None)
    entries = find_entries(joined, {author: [] for author in TRUTH}, METHOD, shams)
    return World("w", entries, grade(entries, assign(entries, TRUTH)), shams)


def cells(page: str, first: str) -> list[str]:
    (row,) = [line for line in page.splitlines() if line.startswith(f"| {first} |")]
    return [cell.strip() for cell in row.strip("|").split("|")]


def test_grades_are_added_up() -> None:
    page = grades_section([world(0.0), world(0.0)])
    assert cells(page, "w" if page.count("| w |") == 1 else "**all**")[1].startswith("4 of 4")
    assert "25.0%" in page, "what a blind guess among four traits gets"


def test_shams_that_drift_are_caught_by_sign_flips_and_not_by_the_rule() -> None:
    quiet, drifting = shams_section(world(0.0), draws=5), shams_section(world(1.0), draws=5)
    assert float(cells(quiet, "p < 0.05 (sign flips)")[2].split("%")[0]) < 25
    assert cells(drifting, "p < 0.05 (sign flips)")[2].startswith("100.0%")
    assert float(cells(drifting, "detected: all of these")[2].split("%")[0]) < 15


