"""Trait vectors from contrastive system prompts: what the clean reader's residuals do when it is asked to show a trait.

Reads   traits/<trait>.json of the experiment, else datasets/traits/
Writes  vectors/<trait>/<method>.safetensors: one direction per layer, provenance, separation on held-out questions

For each question the clean model answers under a system prompt that elicits the trait and under its neutral twin.
`same-text` (the default) contrasts one text, the eliciting one, read under both system prompts: what differs is what
the model is set on, as when an organism and the clean reader read the same response. `own-text` contrasts each with its
own answer (contrastive activation addition, Rimsky et al. 2024). Residuals are averaged over the response.

Example: python inference/extract_trait_vectors.py --experiment audit-bleachers --layers 20,23,26 --skip-existing
"""

import argparse
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, get_args

from inference.options import model_phase_parser, read_experiment
from inference.units import model_settings, refuse_existing
from interp import cli
from interp.chat import template_settings
from interp.config import Experiment
from interp.errors import InputError, SettingsChanged
from interp.files import sweep_leftovers
from interp.leases import Leases
from interp.manifest import fingerprint
from interp.records import Contrast, Message, Provenance, Trait
from interp.sharing import HowToShare, SharedWork
from interp.stopping import stop_on_signals
from interp.vector_store import load_vector, save_vector, vector_path

if TYPE_CHECKING:
    from torch import Tensor

    from interp.models import LanguageModel

log = logging.getLogger(__name__)

METHOD_NAMES = ("mean_difference", "logistic_probe")


@dataclass(frozen=True)
class ExtractOptions:
    """How vectors are made."""

    methods: tuple[str, ...]
    contrast: Contrast


def identity(experiment: Experiment, trait: Trait, options: ExtractOptions) -> str:
    """The fingerprint of all that determines a trait's vectors."""
    config = experiment.config
    return fingerprint(
        {
            **model_settings(experiment.base_spec(config.clean_reader), None),
            "trait": trait.model_dump(mode="json"),
            "contrast": options.contrast,
            "sampling": config.sampling.model_dump(),
            "batch_size": config.batch_size,
            "capture_tokens": config.capture_tokens,
            "template": template_settings(),
        }
    )


def pending_methods(experiment: Experiment, trait: Trait, options: ExtractOptions, overwrite: bool) -> list[str]:
    """The methods that a trait has no vector of yet.

    Raises:
        SettingsChanged: one was made otherwise.
    """
    pending = []
    for method in options.methods:
        path = vector_path(experiment.paths.vectors, trait.name, method)
        if overwrite or not path.exists():
            pending.append(method)
            continue
        made = load_vector(path).provenance
        if made.identity != identity(experiment, trait, options) or made.layers != experiment.config.layers:
            raise SettingsChanged(f"{path} was made with another model, trait file, layers or options; use --overwrite")
    return pending


@dataclass(frozen=True)
class Contrasted:
    """Mean residuals over responses, with the trait and without: `[questions, layers, d_model]` each."""

    positive: "Tensor"
    negative: "Tensor"


def contrast_residuals(
    experiment: Experiment, trait: Trait, questions: Sequence[str], contrast: Contrast, model: "LanguageModel"
) -> Contrasted:
    """Answer the questions under both kinds of system prompt and read what was written."""
    pairs = [trait.instructions[index % len(trait.instructions)] for index in range(len(questions))]
    asked = list(zip(questions, pairs, strict=True))
    positive = [_prompt(model, pair.positive, question) for question, pair in asked]
    negative = [_prompt(model, pair.negative, question) for question, pair in asked]
    replies = _answer(experiment, model, positive)
    other_replies = replies if contrast == "same-text" else _answer(experiment, model, negative)
    return Contrasted(
        positive=_mean_residuals(experiment, model, positive, replies),
        negative=_mean_residuals(experiment, model, negative, other_replies),
    )


def fit_vectors(
    experiment: Experiment, trait: Trait, methods: Sequence[str], options: ExtractOptions, model: "LanguageModel"
) -> None:
    """Fit every method at every layer and save the vectors."""
    import torch

    from interp.vectors import METHODS, TraitVector

    fitted = contrast_residuals(experiment, trait, trait.questions, options.contrast, model)
    held_out = contrast_residuals(experiment, trait, trait.held_out_questions, options.contrast, model)
    for method in methods:
        layers = range(len(experiment.config.layers))
        directions = torch.stack(
            [METHODS[method](fitted.positive[:, layer], fitted.negative[:, layer]) for layer in layers]
        )
        separation = _separation(directions, held_out)
        save_vector(
            experiment.paths.vectors,
            TraitVector(
                directions=directions,
                positive_mean=fitted.positive.mean(dim=0),
                negative_mean=fitted.negative.mean(dim=0),
                provenance=_provenance(experiment, trait, method, options, directions, separation),
            ),
        )
        log.info("%s %s: held-out AUROC by layer %s", trait.name, method, " ".join(f"{a:.2f}" for a in separation))


def _prompt(model: "LanguageModel", system: str, question: str) -> list[int]:
    from interp.chat import prompt_ids

    return prompt_ids(model.tokenizer, [Message(role="system", content=system), Message(role="user", content=question)])


def _answer(experiment: Experiment, model: "LanguageModel", prompts: Sequence[list[int]]) -> list[tuple[int, ...]]:
    from interp.generation import generate

    replies: list[tuple[int, ...]] = []
    for start in range(0, len(prompts), experiment.config.batch_size):
        batch = prompts[start : start + experiment.config.batch_size]
        keys = [f"extract/{start + row}" for row in range(len(batch))]
        replies += [completion.ids for completion in generate(model, batch, experiment.config.sampling, keys)]
    return replies


def _mean_residuals(
    experiment: Experiment, model: "LanguageModel", prompts: Sequence[list[int]], replies: Sequence[tuple[int, ...]]
) -> "Tensor":
    """Mean over the tokens of each reply, float32: `[questions, layers, d_model]`."""
    import torch

    from interp.capture import Reading, read_residuals

    empty = [index for index, reply in enumerate(replies) if not reply]
    if empty:
        raise InputError(f"{len(empty)} questions got an empty answer (the first is number {empty[0]}): rephrase them")
    readings = [Reading((*prompt, *reply), len(prompt)) for prompt, reply in zip(prompts, replies, strict=True)]
    config = experiment.config
    means: dict[int, Tensor] = {}
    for index, resid in read_residuals(model, readings, config.layers, config.capture_tokens):
        means[index] = resid.float().mean(dim=1)
    return torch.stack([means[index] for index in range(len(readings))])


def _separation(directions: "Tensor", held_out: Contrasted) -> tuple[float, ...]:
    from interp.stats import auroc

    def scores(samples: "Tensor", layer: int) -> "Tensor":
        return samples[:, layer] @ directions[layer]

    return tuple(
        auroc(scores(held_out.positive, layer).numpy(), scores(held_out.negative, layer).numpy())
        for layer in range(len(directions))
    )


def _provenance(
    experiment: Experiment, trait: Trait, method: str, options: ExtractOptions, directions: "Tensor",
    separation: tuple[float, ...],
) -> Provenance:
    config = experiment.config
    variant = config.model_variants[config.clean_reader]
    return Provenance(
        trait=trait.name,
        method=method,
        contrast=options.contrast,
        positions="response-mean",
        model=variant.model,
        revision=variant.revision,
        identity=identity(experiment, trait, options),
        layers=config.layers,
        norms=tuple(float(norm) for norm in directions.norm(dim=-1)),
        n_pairs=len(trait.questions),
        n_held_out=len(trait.held_out_questions),
        held_out_auroc=separation,
        data_hash=fingerprint(trait.model_dump(mode="json")),
    )


def extract_all(
    experiment: Experiment, traits: Sequence[Trait], options: ExtractOptions, args: argparse.Namespace
) -> None:
    """Make the vectors of every trait that lacks some."""
    lacking = {trait: pending_methods(experiment, trait, options, args.overwrite) for trait in traits}
    work = {trait: methods for trait, methods in lacking.items() if methods}
    log.info("extract: %d of %d traits pending", len(work), len(traits))
    if args.dry_run:
        for trait, methods in work.items():
            print("extract", trait.name, *methods, f"{len(trait.questions) + len(trait.held_out_questions)} questions")
        return
    if len(work) < len(traits) and not (args.skip_existing or args.overwrite):
        refuse_existing(str(experiment.paths.vectors))
    if work:
        _extract_pending(experiment, work, options, args)


def _extract_pending(
    experiment: Experiment, work: dict[Trait, list[str]], options: ExtractOptions, args: argparse.Namespace
) -> None:
    from inference.devices import set_threads
    from interp.layers import check_layers
    from interp.models import load_language_model

    set_threads(args.threads or experiment.config.threads)
    sweep_leftovers(experiment.paths.vectors)
    model = load_language_model(experiment.base_spec(experiment.config.clean_reader), args.device)
    check_layers(experiment.config.layers, model.n_layers, model.spec.model)
    progress = cli.Progress("extract", len(work), "traits")
    how = HowToShare[Trait](
        key=lambda trait: f"extract/{trait.name}",
        affinity=lambda trait: (trait.name,),
        is_done=lambda trait: not (args.overwrite or pending_methods(experiment, trait, options, False)),
    )
    with stop_on_signals(args.warning_seconds) as stop, Leases(experiment.paths.leases, args.lease_seconds) as leases:
        shared = SharedWork(list(work), how, leases)
        for trait in shared.take(lambda: stop.raise_if_asked(f"{len(shared.left())} traits left")):
            fit_vectors(experiment, trait, work[trait], options, model)
            progress.step(1, trait.name, len(shared.left()))
    progress.close()


def build_parser() -> argparse.ArgumentParser:
    from inference.options import sampling_options

    parser = model_phase_parser(__doc__, [sampling_options()])
    parser.add_argument("--traits", type=cli.names, help="names (default: all of the experiment, else datasets/traits)")
    parser.add_argument("--layers", type=cli.layers_argument, help="0-based (default: the config's)")
    parser.add_argument("--methods", type=cli.names, default=list(METHOD_NAMES), help=f"of {', '.join(METHOD_NAMES)}")
    parser.add_argument("--contrast", choices=get_args(Contrast), default="same-text", help="default: same-text")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    experiment = read_experiment(args)
    unknown = sorted(set(args.methods) - set(METHOD_NAMES))
    if unknown:
        raise InputError(f"unknown method {', '.join(unknown)}; there are: {', '.join(METHOD_NAMES)}")
    names = args.traits or experiment.paths.trait_names
    if not names:
        raise InputError(f"no trait files in {experiment.paths.home / 'traits'} or datasets/traits: write some first")
    traits = [experiment.trait(name) for name in args.shard.of(names)]
    extract_all(experiment, traits, ExtractOptions(tuple(args.methods), args.contrast), args)
    return 0


if __name__ == "__main__":
    cli.run(main)
