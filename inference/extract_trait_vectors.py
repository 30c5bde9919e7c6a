"""Trait vectors from contrastive system prompts: what the clean reader's residuals do when it is asked to show a trait.

Reads   traits/<trait>.json of the experiment, else datasets/traits/
Writes  vectors/<trait>/<method>.safetensors: one direction per layer, provenance, scores of held-out questions

For each question the clean model answers under a system prompt that elicits the trait and under its neutral twin.
`same-text` (the default) contrasts one text, the eliciting one, read under both system prompts: what differs is what
the model is set on, as when an organism and the clean reader read the same response. `own-text` contrasts each with its
own answer (contrastive activation addition, Rimsky et al. 2024). Residuals are averaged over the response
(`response-mean`, the default) or its first tokens (`first-k`), or are those of the last token before it (`last-prompt`:
nothing is answered). Vectors of other positions than the default have them in their name, and lie beside it.

Example: python inference/extract_trait_vectors.py --experiment audit-bleachers --layers 20,23,26 --skip-existing
"""

import argparse
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_args

from inference.contrasted_residuals import Contrasted, ReadPositions, Where, contrast_residuals
from inference.options import model_phase_parser, read_experiment
from inference.units import model_settings, refuse_existing
from interp import cli
from interp.chat import template_settings
from interp.config import Experiment
from interp.errors import InputError, SettingsChanged
from interp.files import sweep_leftovers
from interp.leases import Leases
from interp.manifest import fingerprint
from interp.records import Contrast, Provenance, Trait
from interp.sharing import HowToShare, SharedWork
from interp.stopping import stop_on_signals
from interp.vector_store import load_vector, save_vector, vector_path

if TYPE_CHECKING:
    from torch import Tensor

    from interp.models import LanguageModel

log = logging.getLogger(__name__)

METHOD_NAMES = ("mean_difference", "logistic_probe")
"""What is extracted unless other methods are asked for."""
ALL_METHOD_NAMES = (*METHOD_NAMES, "pca_of_differences", "whitened_mean_difference")

NULL_DIRECTIONS = "within classes, 16"
"""How `interp.vectors.draw_null_directions` makes those that are kept with a vector; part of its identity."""


@dataclass(frozen=True)
class ExtractOptions:
    """How vectors are made."""

    methods: tuple[str, ...]
    contrast: Contrast
    positions: ReadPositions

    def name_of(self, method: str) -> str:
        """What a vector's file is called."""
        return method if self.positions.are_default else f"{method}-{self.positions.name}"


def identity(experiment: Experiment, trait: Trait, options: ExtractOptions) -> str:
    """The fingerprint of all that determines a trait's vectors."""
    config = experiment.config
    other_positions = {} if options.positions.are_default else {"positions": options.positions.name}
    return fingerprint(
        {
            **model_settings(experiment.base_spec(config.clean_reader), None),
            "trait": _what_elicits(trait),
            "contrast": options.contrast,
            "sampling": config.sampling.model_dump(),
            "batch_size": config.batch_size,
            "capture_tokens": config.capture_tokens,
            "template": template_settings(),
            "null_directions": NULL_DIRECTIONS,
            **other_positions,
        }
    )


def _what_elicits(trait: Trait) -> dict[str, Any]:
    """The trait without what no vector depends on."""
    return trait.model_dump(mode="json", exclude={"sentences", "marker"})


def pending_methods(experiment: Experiment, trait: Trait, options: ExtractOptions, overwrite: bool) -> list[str]:
    """The methods that a trait has no vector of yet.

    Raises:
        SettingsChanged: one was made otherwise.
    """
    pending = []
    for method in options.methods:
        path = vector_path(experiment.paths.vectors, trait.name, options.name_of(method))
        if overwrite or not path.exists():
            pending.append(method)
            continue
        made = load_vector(path).provenance
        if made.identity != identity(experiment, trait, options) or made.layers != experiment.config.layers:
            raise SettingsChanged(f"{path} was made with another model, trait file, layers or options; use --overwrite")
    return pending


def fit_vectors(
    experiment: Experiment, trait: Trait, methods: Sequence[str], options: ExtractOptions, model: "LanguageModel"
) -> None:
    """Fit every method at every layer and save the vectors."""
    import torch

    from interp.vectors import METHODS, TraitVector, draw_null_directions

    def read(questions: Sequence[str]) -> Contrasted:
        return contrast_residuals(experiment, trait, questions, options.contrast, options.positions, model)

    fitted, held_out = read(trait.questions), read(trait.held_out_questions)
    null = draw_null_directions(fitted.positive, fitted.negative, trait.name)
    for method in methods:
        layers = range(len(experiment.config.layers))
        directions = torch.stack(
            [METHODS[method](fitted.positive[:, layer], fitted.negative[:, layer]) for layer in layers]
        )
        provenance = _provenance(experiment, trait, options, method, Fitted(directions, len(fitted.positive), held_out))
        positive_mean, negative_mean = fitted.positive.mean(dim=0), fitted.negative.mean(dim=0)
        save_vector(experiment.paths.vectors, TraitVector(directions, positive_mean, negative_mean, provenance, null))
        separation = " ".join(f"{value:.2f}" for value in provenance.held_out_auroc)
        log.info("%s %s: held-out AUROC by layer %s", trait.name, provenance.method, separation)


@dataclass(frozen=True)
class Fitted:
    """Directions `[layers, d_model]`, the number of pairs that they were fitted to, and what they are tried on."""

    directions: "Tensor"
    n_pairs: int
    held_out: Contrasted

    def held_out_scores(self) -> "tuple[Tensor, Tensor]":
        """Projections in residual units, with the trait and without it: `[layers, questions]` each."""
        import torch

        from interp.vectors import unit

        normals = unit(self.directions)
        positive, negative = (
            torch.einsum("qld,ld->lq", samples, normals) for samples in (self.held_out.positive, self.held_out.negative)
        )
        return positive, negative


def _provenance(
    experiment: Experiment, trait: Trait, options: ExtractOptions, method: str, fitted: Fitted
) -> Provenance:
    from interp.stats import auroc

    config = experiment.config
    variant = config.model_variants[config.clean_reader]
    positive, negative = fitted.held_out_scores()
    return Provenance(
        trait=trait.name,
        method=options.name_of(method),
        contrast=options.contrast,
        positions=options.positions.name,
        model=variant.model,
        revision=variant.revision,
        identity=identity(experiment, trait, options),
        layers=config.layers,
        norms=tuple(float(norm) for norm in fitted.directions.norm(dim=-1)),
        n_pairs=fitted.n_pairs,
        n_held_out=len(fitted.held_out.positive),
        held_out_auroc=tuple(auroc(*pair) for pair in zip(positive.numpy(), negative.numpy(), strict=True)),
        held_out_positive=tuple(map(tuple, positive.tolist())),
        held_out_negative=tuple(map(tuple, negative.tolist())),
        data_hash=fingerprint(_what_elicits(trait)),
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
    from inference.devices import load_clean_reader

    sweep_leftovers(experiment.paths.vectors)
    model = load_clean_reader(experiment, args.device, args.threads)
    progress = cli.Progress("extract", len(work), "traits")
    how = HowToShare[Trait](
        key=lambda trait: f"extract/{trait.name}",
        affinity=lambda trait: (trait.name,),
        is_done=lambda trait: not (args.overwrite or pending_methods(experiment, trait, options, False)),
    )
    with stop_on_signals(args.warning_seconds) as stop, Leases(experiment.paths.leases, args.lease_seconds) as leases:
        SharedWork(list(work), how, leases).do_all(
            lambda trait: fit_vectors(experiment, trait, work[trait], options, model),
            lambda trait: trait.name, progress, stop,
        )


def build_parser() -> argparse.ArgumentParser:
    from inference.options import sampling_options

    parser = model_phase_parser(__doc__, [sampling_options()])
    parser.add_argument("--traits", type=cli.names, help="names (default: all of the experiment, else datasets/traits)")
    parser.add_argument("--layers", type=cli.layers_argument, help="0-based (default: the config's)")
    parser.add_argument(
        "--methods", type=cli.names, default=list(METHOD_NAMES),
        help=f"of {', '.join(ALL_METHOD_NAMES)} (default: {', '.join(METHOD_NAMES)})",
    )
    parser.add_argument("--positions", choices=get_args(Where), default="response-mean", help="default: response-mean")
    parser.add_argument(
        "--first-tokens", type=cli.positive, default=8, metavar="K", help="of the response, with first-k (default: 8)"
    )
    parser.add_argument("--contrast", choices=get_args(Contrast), default="same-text", help="default: same-text")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    experiment = read_experiment(args)
    unknown = sorted(set(args.methods) - set(ALL_METHOD_NAMES))
    if unknown:
        raise InputError(f"unknown method {', '.join(unknown)}; there are: {', '.join(ALL_METHOD_NAMES)}")
    names = args.traits or experiment.paths.trait_names
    if not names:
        raise InputError(f"no trait files in {experiment.paths.home / 'traits'} or datasets/traits: write some first")
    traits = [experiment.trait(name) for name in args.shard.of(names)]
    positions = ReadPositions(args.positions, args.first_tokens)
    extract_all(experiment, traits, ExtractOptions(tuple(args.methods), args.contrast, positions), args)
    return 0


if __name__ == "__main__":
    cli.run(main)
