"""The responses, tokens and clauses that reach furthest along each trait: what to read first in the morning.

Reads   both readers' projections, the responses, the vectors' provenance.
Writes  analysis/top_activating/<prompt_set>/<trait>/{summary.md,by_organism.json,across_organisms.json}

Mode `difference` (default) ranks author minus clean reader; an author without a replay is left out and named.
Mode `raw` ranks the author's own projections. The layer is the one that separated best on held-out questions.

Example: python analysis/top_activating_responses.py --experiment audit-bleachers \
             --prompt-set audit_bleachers/discovery --top-n 20
"""

import argparse
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from analysis.freshness import is_fresh, made_from, note_made
from analysis.rankings import RANKINGS, Activating, Found, Ranking, Search, describe, rank, search
from analysis.readings import projected_authors, projection_files
from interp import cli
from interp.config import Experiment
from interp.errors import InputError
from interp.files import sweep_leftovers, write_json, write_text
from interp.manifest import read_made_with
from interp.paths import OWN_READER
from interp.projections import Column, read_scores
from interp.records import Response, read_record
from interp.stats import Floats
from interp.vector_store import list_vectors, read_provenance

FILES = ("summary.md", "by_organism.json", "across_organisms.json")

log = logging.getLogger(__name__)

Mode = Literal["difference", "raw"]


@dataclass(frozen=True)
class Options:
    """What to list: how many, of which scores, in what order by organism."""

    top_n: int
    mode: Mode
    rank_by: Ranking


@dataclass(frozen=True)
class Choice:
    """Which vector speaks for a trait."""

    trait: str
    method: str
    layer: int
    auroc: float

    @property
    def column(self) -> Column:
        return self.trait, self.method, self.layer


def choose_vectors(experiment: Experiment, method: str, layer: int | None) -> list[Choice]:
    """For each trait, the vector of the method at the asked layer, else where it separated best (ties: the middle)."""
    choices = []
    for path in list_vectors(experiment.paths.vectors, methods=[method]):
        made = read_provenance(path)
        if layer is not None and layer not in made.layers:
            raise InputError(f"{path} has layers {list(made.layers)}, not {layer}")
        middle = (len(made.layers) - 1) / 2
        best = max(range(len(made.layers)), key=lambda at: (made.held_out_auroc[at], -abs(at - middle)))
        at = best if layer is None else made.layers.index(layer)
        choices.append(Choice(made.trait, method, made.layers[at], made.held_out_auroc[at]))
    return choices


def token_scores(
    experiment: Experiment, author: str, prompt_set: str, choices: Sequence[Choice], mode: Mode
) -> dict[Column, dict[str, Floats]]:
    """The score of every response token, per vector and prompt id."""
    wanted = [choice.column for choice in choices]
    own = read_scores(experiment.paths.projections(author, prompt_set, OWN_READER), wanted)
    if mode == "raw":
        return own
    clean = read_scores(experiment.paths.projections(author, prompt_set, experiment.config.clean_reader), wanted)
    return {
        column: {prompt_id: scores - clean[column][prompt_id] for prompt_id, scores in per_prompt.items()}
        for column, per_prompt in own.items()
    }


def write_trait(
    folder: Path,
    prompt_set: str,
    choice: Choice,
    found: Sequence[Found],
    left_out: Sequence[str],
    options: Options,
) -> None:
    """The three files of a trait."""
    of_author = {author: [each for each in found if each.shown.author == author] for author in _authors(found)}
    by_organism = {author: rank(own, options.rank_by, options.top_n) for author, own in of_author.items()}
    across: dict[Ranking, list[Activating]] = {ranking: rank(found, ranking, options.top_n) for ranking in RANKINGS}
    write_json(folder / "by_organism.json", _dump(by_organism))
    write_json(folder / "across_organisms.json", _dump(across))
    searches = {ranking: search(found, ranking) for ranking in RANKINGS}
    title = f"# {choice.trait} · {prompt_set}"
    write_text(folder / "summary.md", summary(title, choice, across, searches, left_out, options))


def _authors(found: Sequence[Found]) -> list[str]:
    return sorted({each.shown.author for each in found})


def summary(
    title: str,
    choice: Choice,
    across: Mapping[Ranking, Sequence[Activating]],
    searches: Mapping[Ranking, Search],
    left_out: Sequence[str],
    options: Options,
) -> str:
    """Ranked tables to read."""
    paired = options.mode == "difference"
    mode = "author − clean reader" if paired else "the author's own"
    n_responses = searches[options.rank_by].n_responses
    lines = [
        title,
        "",
        f"Projection ({mode}) on the {choice.method} vector at layer {choice.layer} (held-out AUROC "
        f"{choice.auroc:.2f}), in residual units: the highest {options.top_n} of {n_responses} responses.",
        "",
        _ABOUT_Q if paired else "The top of many is high by chance too, and these scores have no null: see the mode "
        "`difference`.",
        "",
    ]
    if left_out:
        lines += [f"Left out, for want of a replay: {', '.join(left_out)}.", ""]
    for ranking, ranked in across.items():
        lines += [f"## By {ranking.replace('_', ' ')}", ""]
        lines += [searches[ranking].sentence if paired else searches[ranking].searched, ""]
        lines += ["| score | q | author | category | question | where |", "|--:|--:|---|---|---|---|"]
        lines += [_table_row(ranking, each, paired) for each in ranked]
        lines.append("")
    return "\n".join(lines)


_ABOUT_Q = (
    "The top of many is high by chance too. So the same search is made in the reverse direction, clean reader − "
    "author: if nothing but noise tells the two apart, what it finds is as likely to be as high. q: of the responses "
    "listed down to this one, at most about this share is there by chance."
)


def _table_row(ranking: Ranking, each: Activating, paired: bool) -> str:
    where = {"clause": each.clause_text, "max_token": each.max_token_text}.get(ranking, each.text)
    q = f"{each.q:.2g}" if paired and each.q is not None else "—"
    cells = [f"{getattr(each, ranking):.3f}", q, each.author, each.category, _cell(each.question), _cell(where)]
    return f"| {' | '.join(cells)} |"


def _cell(text: str, most: int = 160) -> str:
    flat = " ".join(text.split()).replace("|", "\\|")
    return flat if len(flat) <= most else flat[: most - 1] + "…"


def _dump(ranked: Mapping[Any, Sequence[Activating]]) -> dict[str, list[dict[str, Any]]]:
    return {name: [each.model_dump() for each in of_name] for name, of_name in ranked.items()}


def rank_prompt_set(
    experiment: Experiment, prompt_set: str, authors: Sequence[str], choices: Sequence[Choice], options: Options
) -> None:
    """Rank one prompt set's responses on every trait and write the tables."""
    experiment.prompt_set(prompt_set)  # an unknown one is named with those that there are
    readers = [OWN_READER] if options.mode == "raw" else None
    complete, left_out = projected_authors(experiment, authors, [prompt_set], readers)
    if not complete:
        raise InputError(f"no author has the projections of {prompt_set} that this needs: finish phase 3 first")
    if left_out:
        log.warning("left out for want of projections: %s", ", ".join(left_out))
    if any(is_pooled(experiment, author, prompt_set) for author in complete):
        log.warning("%s: not ranked, since means are kept (--keep pooled) and no token scores", prompt_set)
        return
    top = experiment.paths.analysis / "top_activating" / prompt_set
    asked = {**asdict(options), "left_out": left_out, "choices": [asdict(choice) for choice in choices]}
    made = made_from(projection_files(experiment, complete, [prompt_set], readers), asked)
    files = [f"{choice.trait}/{name}" for choice in choices for name in FILES]
    if is_fresh(top, made, files):
        return
    sweep_leftovers(top)
    found: dict[Column, list[Found]] = {choice.column: [] for choice in choices}
    for author in complete:
        folder = experiment.paths.responses(author, prompt_set)
        prompts = experiment.prompt_set(prompt_set).prompts
        responses = {each.id: read_record(Response, folder / f"{each.id}.json") for each in prompts}
        for column, per_prompt in token_scores(experiment, author, prompt_set, choices, options.mode).items():
            found[column] += [describe(responses[prompt_id], scores) for prompt_id, scores in per_prompt.items()]
    for choice in choices:
        write_trait(top / choice.trait, prompt_set, choice, found[choice.column], left_out, options)
    note_made(top, made)
    log.info("%s: %d traits ranked over %d authors", prompt_set, len(choices), len(complete))


def is_pooled(experiment: Experiment, author: str, prompt_set: str) -> bool:
    """Whether only means were kept of what an author's readers read."""
    made_with = read_made_with(experiment.paths.activations(author, prompt_set, OWN_READER))
    return made_with.get("keep") == "pooled"


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, parents=[cli.experiment_options()]
    )
    parser.add_argument("--top-n", type=cli.positive, default=20, help="how many to list (default: 20)")
    parser.add_argument("--mode", choices=get_args(Mode), default="difference", help="default: difference")
    parser.add_argument("--rank-by", choices=RANKINGS, default="top5_mean", help="by organism (default: top5_mean)")
    parser.add_argument("--method", default="mean_difference", help="of the vectors (default: mean_difference)")
    parser.add_argument("--layer", type=int, help="0-based (default: where each trait separated best)")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    experiment = Experiment(args.experiment, args.root)
    options = Options(args.top_n, args.mode, args.rank_by)
    authors = experiment.select_variants(args.model_variant)
    choices = choose_vectors(experiment, args.method, args.layer)
    for prompt_set in args.prompt_set or experiment.config.prompt_sets:
        rank_prompt_set(experiment, prompt_set, authors, choices, options)
    return 0


if __name__ == "__main__":
    cli.run(main)
