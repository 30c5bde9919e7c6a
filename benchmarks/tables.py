"""The results as markdown."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from statistics import median

from benchmarks.comparison import STAGES, Comparison, SideName, SideRun, generation_and_capture, whole, with_starts
from benchmarks.forced_pass import CAPTURE, TRUNCATED, ForcedPass, Way
from benchmarks.jobs import PHASES, PhaseName
from benchmarks.machine import Machine
from benchmarks.memory_growth import Peak
from benchmarks.stopwatch import Cost
from interp.files import human_bytes

Read = Callable[[SideRun], Cost]


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A markdown table; the first column left, the others right."""
    rule = ["---", *["---:"] * (len(header) - 1)]
    return "\n".join("| " + " | ".join(row) + " |" for row in (header, rule, *rows))


# --- The whole audit --------------------------------------------------------------------------------------------------


def audit_table(comparison: Comparison) -> str:
    """Rows: the stages, their sum, bytes and peak memory. A ratio is baseline / ours: above 1, ours takes less."""
    rows = [_time_row(comparison, name, read) for name, read in STAGES.items()]
    rows.append(_time_row(comparison, "**whole audit**", whole))
    commands = " / ".join(str(comparison.repeats[-1][side].commands) for side in _SIDES)
    rows.append(_time_row(comparison, f"whole audit and starting its {commands} commands", with_starts))
    rows.append(_time_row(comparison, "generation + capture", generation_and_capture))
    rows.append(_bytes_row("bytes on disk", comparison, lambda run: sum(run.bytes.values())))
    for kind in sorted(comparison.repeats[-1]["ours"].bytes):
        rows.append(_bytes_row(f"· {kind}", comparison, partial(_bytes_of, kind)))
    rows.append(_bytes_row("peak memory above the imports", comparison, lambda run: run.peak_bytes))
    for phase in PHASES:
        rows.append(_bytes_row(f"· {phase}", comparison, partial(_peak_of, phase)))
    if comparison.repeats[-1]["ours"].gpu_peak_bytes:
        rows.append(_bytes_row("peak GPU memory", comparison, lambda run: run.gpu_peak_bytes))
    return table(["", "baseline", "ours", "ratio", "least to most", "ratio of CPU time"], rows)


def _bytes_of(kind: str, run: SideRun) -> int:
    return run.bytes[kind]


def _peak_of(phase: PhaseName, run: SideRun) -> int:
    return run.phases[phase].peak_bytes


def _time_row(comparison: Comparison, name: str, read: Read) -> list[str]:
    """Medians over the repeats; the ratio is the median of the repeats' own ratios."""
    walls = wall_ratios(comparison, read)
    seconds = [_seconds(median(read(each[side]).wall for each in comparison.repeats)) for side in _SIDES]
    cpu = median(cpu_ratios(comparison, read))
    return [name, *seconds, _times(median(walls)), f"{_times(min(walls))} to {_times(max(walls))}", _times(cpu)]


def wall_ratios(comparison: Comparison, read: Read) -> list[float]:
    """Baseline / ours of each repeat."""
    return [_ratio(read(each["baseline"]).wall, read(each["ours"]).wall) for each in comparison.repeats]


def cpu_ratios(comparison: Comparison, read: Read) -> list[float]:
    """As `wall_ratios`, by processor time: what other work on the machine hardly changes."""
    return [_ratio(read(each["baseline"]).cpu, read(each["ours"]).cpu) for each in comparison.repeats]


def _bytes_row(name: str, comparison: Comparison, read: Callable[[SideRun], int]) -> list[str]:
    values = [median(read(each[side]) for each in comparison.repeats) for side in _SIDES]
    return [name, *map(human_bytes, values), _times(_ratio(values[0], values[1])), "", ""]


def agreement_lines(comparison: Comparison) -> str:
    found = comparison.agreement
    lines = [
        f"- tokens equal: {found.same_tokens} of {found.responses} responses ({found.response_tokens} tokens)",
        f"- readings compared: {found.readings_compared} of {found.readings}",
        *(f"  - left out, {reason}: {count}" for reason, count in found.readings_left_out.items()),
        f"- mean projections ({found.projections_compared}): largest difference {found.largest_difference:.2g}, "
        f"{_ratio(found.largest_difference, found.spread):.2g} of their spread ({found.spread:.3g}); "
        f"correlation {found.correlation:.8f}",
    ]
    return "\n".join(lines)


def where_ours_goes(comparison: Comparison) -> str:
    """Our share of each stage beside its ratio, and what the ratio would be if only generation and capture cost."""
    total = median(whole(each["ours"]).wall for each in comparison.repeats)
    shares = {
        name: median(read(each["ours"]).wall for each in comparison.repeats) / total for name, read in STAGES.items()
    }
    parts = [
        f"{name} {share:.0%} ({_times(median(wall_ratios(comparison, STAGES[name])))})"
        for name, share in sorted(shares.items(), key=lambda item: -item[1])
        if share >= 0.03
    ]
    bound = median(
        _ratio(whole(each["baseline"]).wall, generation_and_capture(each["ours"]).wall) for each in comparison.repeats
    )
    return (
        f"Where our time goes (and that part's ratio): {', '.join(parts)}. With everything but generation and the own "
        f"capture free, the ratio would be {_times(bound)}: both sides decode the same tokens in batches of one size."
    )


# --- Forced capture, memory, machine ----------------------------------------------------------------------------------


def forced_pass_table(result: ForcedPass) -> str:
    """Every way in milliseconds, and against the truncated bare pass of the same round."""
    reference = next(way for way in result.ways if way.name == TRUNCATED)
    rows = [
        [
            way.name,
            _spread([cost.wall * 1000 for cost in way.repeats], ".0f" if _slow(way) else ".2f"),
            _spread(relative(way, reference), ".3f"),
            f"{median(_cpu_relative(way, reference)):.3f}",
        ]
        for way in result.ways
    ]
    return table(["", "ms, median (quartiles)", "÷ cut bare pass, median (quartiles)", "÷ by CPU time"], rows)


def relative(way: Way, reference: Way) -> list[float]:
    """Wall-clock ratios, repeat by repeat."""
    return [_ratio(own.wall, other.wall) for own, other in zip(way.repeats, reference.repeats, strict=True)]


def capture_overhead(result: ForcedPass) -> float:
    """Median ratio of a capture to the truncated bare pass."""
    by_name = {way.name: way for way in result.ways}
    return median(relative(by_name[CAPTURE], by_name[TRUNCATED]))


def growth_table(peaks: Sequence[Peak]) -> str:
    rows = [[str(each.organisms), str(each.prompts), human_bytes(each.peak_bytes)] for each in peaks]
    return table(["organisms", "prompts each", "peak memory of phase 1 above the imports"], rows)


def machine_lines(machine: Machine) -> str:
    libraries = ", ".join(f"{name} {number}" for name, number in machine.libraries.items())
    return (
        f"{machine.date}; {machine.gpu or machine.cpu}, {machine.cores} cores, {machine.memory_gb} GB; "
        f"{machine.threads} thread{'s' if machine.threads > 1 else ''}; Python {machine.python}, {libraries}.\n"
        f"Load average before the first measurement: {machine.load:.2f}."
    )


_SIDES: tuple[SideName, ...] = ("baseline", "ours")


def _cpu_relative(way: Way, reference: Way) -> list[float]:
    return [_ratio(own.cpu, other.cpu) for own, other in zip(way.repeats, reference.repeats, strict=True)]


def _slow(way: Way) -> bool:
    return way.repeats[0].wall >= 0.1


def _spread(values: Sequence[float], form: str) -> str:
    ordered = sorted(values)
    low, high = ordered[len(ordered) // 4], ordered[(3 * len(ordered)) // 4]
    return f"{median(ordered):{form}} ({low:{form}} to {high:{form}})"


def _ratio(baseline: float, ours: float) -> float:
    return baseline / ours if ours else float("inf") if baseline else 1.0


def _times(ratio: float) -> str:
    return f"{ratio:.3g}×"


def _seconds(value: float) -> str:
    return f"{value:.2f} s"
