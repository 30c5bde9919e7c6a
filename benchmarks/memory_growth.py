"""Whether phase 1's peak memory grows with the number of organisms or of prompts.

What one organism answers sets the peak: a talkative one has longer batches. So the work is multiplied without being
changed: the same adapter under several names (each is swapped in), the same prompts as several prompt sets.
"""

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.cut_down import cut_down
from benchmarks.fresh_process import measure_phase
from benchmarks.jobs import Job
from benchmarks.our_phases import PHASE_FUNCTIONS
from interp.config import Experiment
from interp.files import read_json, write_json
from interp.records import Record


class Peak(Record):
    """Phase 1's peak above the imports, for so many organisms and prompts each."""

    organisms: int
    prompts: int
    batch_size: int
    peak_bytes: int


def measure_growth(
    source: Experiment, prompts: int, sizes: Sequence[tuple[int, int]], batch_size: int, threads: int
) -> Iterator[Peak]:
    """The peak for each (organisms, times that `prompts` prompts are asked), each in a process of its own."""
    for organisms, times in sizes:
        with tempfile.TemporaryDirectory() as name:
            small = cut_down(source, Path(name), 1, prompts, threads)
            n_prompts = sum(len(small.prompt_set(each).prompts) for each in small.config.prompt_sets)
            multiply(small, organisms, times, batch_size)
            report = measure_phase(PHASE_FUNCTIONS["generate"], Job(Path(name), small.name, threads))
        yield Peak(
            organisms=organisms, prompts=n_prompts * times, batch_size=batch_size, peak_bytes=report.peak_bytes
        )


def multiply(small: Experiment, organisms: int, times: int, batch_size: int) -> None:
    """Rewrite an experiment of one organism: `organisms` of the same, each prompt set `times` under other names."""
    config = read_json(small.paths.config)
    (organism,) = small.audited
    variants = {small.config.clean_reader: config["model_variants"][small.config.clean_reader]}
    for index in range(organisms):
        name = f"{organism}-{index}"
        variants[name] = _renamed(config["model_variants"][organism], small.paths.folder / "adapters" / name)
    names = [f"{name}-{index}" for name in small.config.prompt_sets for index in range(times)]
    for name in names:
        content = small.prompt_set(name.rpartition("-")[0]).model_dump(mode="json")
        write_json(small.paths.folder / "prompts" / f"{name}.json", {**content, "name": name})
    changes = {"model_variants": variants, "prompt_sets": names, "batch_size": batch_size}
    write_json(small.paths.config, {**config, **changes})


def _renamed(variant: dict[str, Any], link: Path) -> dict[str, Any]:
    """The variant with a local adapter under another name, so that it counts as another; a hub's stays as it is."""
    if not (variant["adapter"] and Path(variant["adapter"]).is_dir()):
        return variant
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(variant["adapter"])
    return {**variant, "adapter": str(link)}
