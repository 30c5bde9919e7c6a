"""Writing down what was measured: one JSON with everything, one page of markdown for people."""

from collections.abc import Callable
from pathlib import Path
from statistics import median

from benchmarks.comparison import Comparison, SideRun, whole, with_starts
from benchmarks.forced_pass import ForcedPass
from benchmarks.machine import Machine
from benchmarks.memory_growth import Peak
from benchmarks.stopwatch import Cost
from benchmarks.tables import (
    agreement_lines,
    audit_table,
    capture_overhead,
    cpu_ratios,
    forced_pass_table,
    growth_table,
    machine_lines,
    wall_ratios,
    where_ours_goes,
)
from interp.files import write_json, write_text
from interp.records import Record

GOAL_WHOLE = 10.0
GOAL_CAPTURE = 1.05

_SMALL = " On a CPU and a model this small, a decoding step is mostly Python (transformers', peft's), not arithmetic."


class Result(Record):
    """Everything that was measured. `load_later`: the 1-minute load average after the last measurement."""

    experiment: str
    machine: Machine
    load_later: float
    comparison: Comparison
    forced_passes: tuple[ForcedPass, ...]
    growth: tuple[Peak, ...]


def write_report(result: Result, folder: Path) -> Path:
    """Write both files; the path of the markdown."""
    stem = folder / f"overnight_{result.machine.date}_{result.machine.slug}"
    write_json(stem.with_suffix(".json"), result.model_dump(mode="json"))
    write_text(stem.with_suffix(".md"), page(result))
    return stem.with_suffix(".md")


def page(result: Result) -> str:
    """The markdown page."""
    sections = [
        "# The overnight audit beside a plain baseline",
        f"{machine_lines(result.machine)} After the last: {result.load_later:.2f} (this benchmark itself counts as 1).",
        _setting(result),
        audit_table(result.comparison),
        _verdict(result),
        "## Same results",
        agreement_lines(result.comparison),
        "## Forced capture against a bare forward pass",
        f"Goal: a capture takes at most {GOAL_CAPTURE:g} of a bare pass to the same layer. The ways take turns, in an "
        "order shuffled for each repeat; ratios are within a repeat. The bare pass has no hooks and no final norm, "
        "and stops after the deepest captured layer.",
        *(_forced(each) for each in result.forced_passes),
        "## Memory against the amount of work",
        f"Phase 1 of ours, batches of {result.growth[0].batch_size}, each row in a process of its own. One adapter "
        "under several names (each swapped in) answers the same prompts, as several prompt sets: only the amount "
        "differs.",
        growth_table(result.growth),
    ]
    return "\n\n".join(sections) + "\n"


def _setting(result: Result) -> str:
    comparison = result.comparison
    prompts = " + ".join(f"{count} {name}" for name, count in comparison.prompts.items())
    return (
        f"Experiment {result.experiment}, cut down to {len(comparison.organisms)} organisms "
        f"({', '.join(comparison.organisms)}) × {sum(comparison.prompts.values())} prompts ({prompts}), layers "
        f"{', '.join(map(str, comparison.layers))}, {comparison.vectors} vectors, batches of {comparison.batch_size}, "
        f"greedy. {len(comparison.repeats)} repeats, phase by phase in turn, the first side changing each time; "
        "seconds are medians, a ratio is the median of the repeats' ratios, baseline ÷ ours. Each phase runs in a "
        "process of its own that starts with everything imported; what each side does is in `plain_baseline.py` (its "
        "docstring) and `our_phases.py`. The extraction of trait vectors and the analysis are in neither side."
    )


def _verdict(result: Result) -> str:
    comparison = result.comparison
    runs = [run for repeat in comparison.repeats for run in repeat.values()]
    start = median(run.starts.wall / run.commands for run in runs)
    return "\n\n".join(
        [
            f"Goal: the whole audit {GOAL_WHOLE:g}× faster. With the starting of its commands: "
            f"{_judged(comparison, with_starts)}. Inside running processes: {_judged(comparison, whole)}.",
            where_ours_goes(comparison) + ("" if result.machine.gpu else _SMALL),
            f"Starting a command (interpreter and imports) took {start:.1f} s, measured before and after each repeat. "
            "The baseline starts one for each organism, prompt set and phase (two in the last, one for each reader); "
            "ours one for each phase.",
        ]
    )


def _judged(comparison: Comparison, read: Callable[[SideRun], Cost]) -> str:
    wall, cpu = median(wall_ratios(comparison, read)), median(cpu_ratios(comparison, read))
    return f"{wall:.3g}× (CPU time {cpu:.3g}×), {_met(wall >= GOAL_WHOLE)}"


def _met(yes: bool) -> str:
    return "reached" if yes else "not reached"


def _forced(result: ForcedPass) -> str:
    overhead = capture_overhead(result)
    same = "are" if result.identical else "are NOT"
    return (
        f"### {result.label}\n\n{result.description}. Captured residuals {same} those of the bare pass, bit for bit. "
        f"Capture ÷ bare pass: {overhead:.3f}, goal {_met(overhead <= GOAL_CAPTURE)}.\n\n{forced_pass_table(result)}"
    )
