"""What the report says of the run itself: settings, who and what was asked, what is missing, which files there are.

Everything is read from the files as they are now; nothing is taken from logs.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from analysis.readings import projected_authors, projection_files
from analysis.top_activating_responses import Choice, is_pooled
from interp.config import Experiment
from interp.errors import InputError
from interp.files import is_whole, list_names
from interp.paths import OWN_READER
from interp.projections import read_table
from interp.vector_store import read_provenance, vector_path

REPORT = "report.html"


def link(experiment: Experiment, path: Path) -> str | None:
    """The way from the report to a file of the experiment, None for one that lies elsewhere or is not there."""
    if not path.exists() or not path.is_relative_to(experiment.paths.folder):
        return None
    inside = path.relative_to(experiment.paths.folder)
    return quote(f"../{inside}") if inside.parts[0] != "analysis" else quote(str(Path(*inside.parts[1:])))


def settings(experiment: Experiment) -> list[list[str]]:
    """What determines the run, a (name, value) a row."""
    config = experiment.config
    rows = [
        ["experiment", experiment.name],
        ["description", config.description],
        ["clean reader", config.clean_reader],
        ["layers (0-based)", ", ".join(map(str, config.layers))],
        ["prompt sets", ", ".join(config.prompt_sets)],
        *[[f"sampling: {name}", str(value)] for name, value in config.sampling.model_dump().items()],
        ["batch size", str(config.batch_size)],
        ["dtype", config.dtype],
        ["CPU threads", str(config.threads or "as the machine has")],
    ]
    if config.shape:
        rows += [[f"base model: {name}", f"{value:.4g}"] for name, value in config.shape.model_dump().items()]
    return [row for row in rows if row[1]]


def models(experiment: Experiment) -> list[dict[str, Any]]:
    """Every model variant of the config."""
    found = []
    for name, variant in experiment.config.model_variants.items():
        quantization = variant.quantization
        found.append(
            {
                "name": name,
                "role": variant.role,
                "truth": variant.truth,
                "recipe": variant.recipe,
                "model": variant.model,
                "revision": variant.revision,
                "adapter": variant.adapter,
                "adapter revision": variant.adapter_revision,
                "quantization": quantization.weights if quantization else None,
            }
        )
    return found


def prompt_sets(experiment: Experiment, names: Sequence[str]) -> list[dict[str, Any]]:
    """What was asked: a prompt set a row, with its categories."""
    found = []
    for prompt_set in (experiment.prompt_set(name) for name in names):
        notes = [prompt.note for prompt in prompt_set.prompts]
        found.append(
            {
                "prompt set": prompt_set.name,
                "prompts": len(notes),
                "with several turns": sum(len(prompt.user_turns) > 1 for prompt in prompt_set.prompts),
                "categories": ", ".join(f"{note or 'none'} {notes.count(note)}" for note in dict.fromkeys(notes)),
                "system prompt": prompt_set.system_prompt,
                "description": prompt_set.description,
            }
        )
    return found


def vectors(experiment: Experiment, choices: Sequence[Choice]) -> list[dict[str, Any]]:
    """The vector that speaks for each trait where tokens are shown."""
    found = []
    for choice in choices:
        path = vector_path(experiment.paths.vectors, choice.trait, choice.method)
        made = read_provenance(path)
        found.append(
            {
                "trait": choice.trait,
                "definition": _definition(experiment, choice.trait),
                "method": choice.method,
                "layer": choice.layer,
                "held-out AUROC": round(choice.auroc, 4),
                "pairs": made.n_pairs,
                "held-out pairs": made.n_held_out,
                "positions": made.positions,
                "contrast": made.contrast,
                "model": made.model,
                "file": link(experiment, path),
            }
        )
    return found


def _definition(experiment: Experiment, trait: str) -> str:
    try:
        return experiment.trait(trait).definition
    except InputError:
        return ""  # the vectors can be shown without the file that they were made from


def coverage(experiment: Experiment, authors: Sequence[str], names: Sequence[str]) -> list[dict[str, Any]]:
    """How far each author came on each prompt set: a row with what is there and what is said to be wrong."""
    rows = []
    for prompt_set in (experiment.prompt_set(name) for name in names):
        ids = {prompt.id for prompt in prompt_set.prompts}
        for author in authors:
            rows.append(_coverage_row(experiment, author, prompt_set.name, ids))
    return sorted(rows, key=lambda row: authors.index(row["author"]))


def _coverage_row(experiment: Experiment, author: str, prompt_set: str, ids: set[str]) -> dict[str, Any]:
    folder = experiment.paths.responses(author, prompt_set)
    there = {name.removesuffix(".json") for name in list_names(folder)} & ids
    own, clean = projection_files(experiment, [author], [prompt_set])
    scored = scored_prompts(own) if is_whole(own) else set()
    problems = [f"{len(ids - there)} responses are missing"] if ids - there else []
    problems += [
        f"no projections by {'the author itself' if path is own else 'the clean reader'}"
        for path in (own, clean)
        if not is_whole(path)
    ]
    if is_whole(own) and is_whole(clean) and scored_prompts(clean) != scored:
        problems.append(f"the clean reader did not read all: {len(scored - scored_prompts(clean))} responses lack it")
    silent = len(there - scored) if is_whole(own) else 0
    if silent:
        problems.append(f"{silent} responses have no score: they are empty, or came after the projections")
    if is_pooled(experiment, author, prompt_set):
        problems.append("only means were kept (--keep pooled): there are no token scores to show")
    return {
        "author": author,
        "prompt set": prompt_set,
        "prompts": len(ids),
        "responses": len(there),
        "read by itself": len(scored),
        "read by the clean reader": len(scored_prompts(clean)) if is_whole(clean) else 0,
        "missing or wrong": "; ".join(problems),
        "file": link(experiment, folder),
    }


def scored_prompts(path: Path) -> set[str]:
    """The prompts that a projection file has scores of."""
    return set(read_table(path, ["prompt_id"])["prompt_id"].unique().to_pylist())


def with_tokens(experiment: Experiment, author: str, names: Sequence[str]) -> list[str]:
    """The prompt sets whose token scores by both readers are there."""
    return [
        name
        for name in names
        if projected_authors(experiment, [author], [name])[0] and not is_pooled(experiment, author, name)
    ]


def analysis_files(experiment: Experiment) -> list[str]:
    """What other analyses wrote, as paths from the report."""
    folder = experiment.paths.analysis
    paths = [path for path in folder.rglob("*") if path.is_file() and path.name[0] not in "._" and path.name != REPORT]
    return sorted(str(path.relative_to(folder)) for path in paths)


def inputs(experiment: Experiment, authors: Sequence[str], names: Sequence[str]) -> list[Path]:
    """The files that determine the report, apart from the texts of responses: projections go with those."""
    readings = [path for path in projection_files(experiment, authors, names) if is_whole(path)]
    tables = [experiment.paths.analysis / name for name in analysis_files(experiment)]
    return [experiment.paths.config, *map(experiment.paths.prompt_set, names), *tables, *readings]


def own_reading(experiment: Experiment) -> dict[str, str]:
    """How the two readers' files are called."""
    return {"own": OWN_READER, "clean": experiment.config.clean_reader}
