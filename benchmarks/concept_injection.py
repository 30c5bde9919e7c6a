"""Trials a second of a concept-injection sweep: one at a time, one configuration a batch, everything mixed.

All sides give the same trials the same tokens, which is checked. They take turns, and what is compared are ratios
within a turn.

Reads   nothing. Makes a random model in a temporary folder, or takes --model.
Writes  the page of results, to FILE where --out is given, and to standard output

Example: python -m benchmarks.concept_injection --out benchmarks/results/concept_injection_2026-11-21_2cores.md
         python -m benchmarks.concept_injection --rows 4 --repeats 1 --tokens 4
"""

import argparse
import logging
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import torch

from benchmarks.machine import this_machine
from benchmarks.pages import counts, page_option, publish
from benchmarks.tables import machine_lines, table
from experiments.concept_injection.concept_vectors import ConceptVectors, make_vectors
from experiments.concept_injection.injection import respond
from experiments.concept_injection.prompts import RenderedPrompt, read_prompt, render
from experiments.concept_injection.request import SweepRequest
from experiments.concept_injection.trials import Push, Trial
from interp import cli
from interp.errors import InterpError
from interp.models import LanguageModel, load_language_model, pick_device, set_threads
from interp.records import Sampling

log = logging.getLogger(__name__)

CONCEPTS = ("fear", "ocean", "silence", "celebration")
STRENGTHS = (0.5, 1.0, 1.5, 2.0)


@dataclass(frozen=True)
class Setup:
    """What all sides work on."""

    model: LanguageModel
    request: SweepRequest
    vectors: ConceptVectors
    prompt: RenderedPrompt

    def rate(self, batches: Sequence[Sequence[Trial]], replies: dict[str, str]) -> float:
        """Trials a second; what was replied goes into `replies`."""
        started = time.perf_counter()
        for batch in batches:
            said = respond(self.model, self.request, self.vectors, self.prompt, batch)
            replies |= {f"{trial.push.concept}/{trial.id}": reply for trial, reply in zip(batch, said, strict=True)}
        return sum(map(len, batches)) / (time.perf_counter() - started)


def mixed_trials(setup: Setup, rows: int) -> list[Trial]:
    """As many different configurations: concepts, layers and strengths in turn; no two alike while they last."""
    layers = setup.vectors.layers
    cells = [(c, layer, s) for s in STRENGTHS for layer in layers for c in CONCEPTS]
    chosen = [(*cells[number % len(cells)], number) for number in range(rows)]
    return [Trial(Push("injection", c, c, layer, s), number) for c, layer, s, number in chosen]


def uniform_trials(setup: Setup, rows: int) -> list[Trial]:
    """As many trials of one configuration."""
    concept, layer, strength = CONCEPTS[0], setup.vectors.layers[0], STRENGTHS[0]
    return [Trial(Push("injection", concept, concept, layer, strength), number) for number in range(rows)]


def measure_rows(setup: Setup, rows: int, repeats: int, alone: int) -> list[str]:
    """A row of the table: rates and their ratios, medians over the repeats.

    Raises:
        InterpError: a reply depends on what shares its batch.
    """
    mixed, uniform = mixed_trials(setup, rows), uniform_trials(setup, rows)
    some = mixed[:: max(1, rows // alone)]
    rates: dict[str, list[float]] = {"one": [], "uniform": [], "mixed": []}
    for turn in range(repeats):
        sides = {"one": [[trial] for trial in some], "uniform": [uniform], "mixed": [mixed]}
        replies: dict[str, dict[str, str]] = {name: {} for name in sides}
        for name in sorted(sides, reverse=bool(turn % 2)):
            rates[name].append(setup.rate(sides[name], replies[name]))
        together, apart = replies["mixed"], replies["one"]
        if setup.request.dtype == "float32" and any(together[key] != reply for key, reply in apart.items()):
            raise InterpError("a reply depends on what shares its batch: the sides did not do the same work")
        log.info("%d rows, turn %d: %s", rows, turn, {name: f"{values[-1]:.1f}/s" for name, values in rates.items()})
    against_one = median(m / o for m, o in zip(rates["mixed"], rates["one"], strict=True))
    against_uniform = median(m / u for m, u in zip(rates["mixed"], rates["uniform"], strict=True))
    cells = [f"{median(rates[name]):.1f}" for name in ("one", "uniform", "mixed")]
    return [str(rows), *cells, f"{against_one:.1f}", f"{against_uniform:.0%}"]


def build_setup(args: argparse.Namespace, folder: Path) -> Setup:
    """The model, its vectors and the prompt."""
    set_threads(args.threads)
    source = args.model or str(_random_model(folder))
    request = SweepRequest(
        experiment_id="benchmark", model=source, dtype=args.dtype, concepts=CONCEPTS, strengths=STRENGTHS,
        prompt_version=args.prompt_version,
        sampling=Sampling(max_new_tokens=args.tokens, temperature=1.0),
    )  # fmt: skip
    model = load_language_model(request.spec, pick_device(args.device))
    model.stop_ids = ()  # every reply has its full length, so that all sides decode as many tokens
    layers = request.layers_of(model.n_layers)
    vectors = make_vectors(model, request, layers)
    return Setup(model, request, vectors, render(model.tokenizer, read_prompt(request.prompt_version)))


def _random_model(folder: Path) -> Path:
    """A Llama of 12 layers and width 256, random, with the tests' byte tokenizer."""
    from transformers import LlamaConfig, LlamaForCausalLM

    from tests.tiny_models import VOCABULARY, build_tokenizer

    config = LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=256, intermediate_size=688, num_hidden_layers=12, num_attention_heads=8,
        num_key_value_heads=4, max_position_embeddings=4096,
    )  # fmt: skip
    torch.manual_seed(0)
    LlamaForCausalLM(config).save_pretrained(folder)
    build_tokenizer().save_pretrained(folder)
    return folder


def measure(args: argparse.Namespace) -> str:
    """The whole page."""
    with tempfile.TemporaryDirectory() as folder:
        setup = build_setup(args, Path(folder))
        rows = [measure_rows(setup, count, args.repeats, args.alone) for count in args.rows]
    header = ["rows", "one at a time, trials/s", "one configuration", "mixed", "mixed ÷ one", "mixed ÷ uniform"]
    words = (
        f"A prompt of {len(setup.prompt.ids)} tokens, replies of {args.tokens}, {setup.model.n_layers} layers of width "
        f"{setup.model.d_model} in {args.dtype}; {args.repeats} turns, medians. Mixed: concepts, strengths and "
        f"{len(setup.vectors.layers)} layers in one batch. One at a time was measured on {args.alone} of the trials, "
        "whose replies are those that they got in the mixed batch."
    )
    goals = "Goals: mixed at least 8 times one at a time at 32 rows, and at least 90% of one configuration a batch."
    machine = machine_lines(this_machine(args.threads or torch.get_num_threads(), _gpu(args.device)))
    return "\n\n".join(["# Concept injection: mixed batches", machine, words, table(header, rows), goals]) + "\n"


def _gpu(device: str | None) -> str | None:
    place = pick_device(device)
    return torch.cuda.get_device_name(place) if place.startswith("cuda") else None


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, parents=[page_option()]
    )
    parser.add_argument("--rows", type=counts, default=[32, 64, 256], help="batch sizes (default: 32,64,256)")
    parser.add_argument("--tokens", type=cli.positive, default=32, help="of a reply (default: 32)")
    parser.add_argument("--repeats", type=cli.positive, default=3, help="turns (default: 3)")
    parser.add_argument("--alone", type=cli.positive, default=8, help="trials run one at a time (default: 8)")
    parser.add_argument("--prompt-version", default="v1", help="default: v1, the shortest")
    parser.add_argument("--model", help="a hub id or folder (default: a random one)")
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16", "float16"))
    parser.add_argument("--device", help="cuda, cpu (default: cuda where there is one)")
    parser.add_argument("--threads", type=cli.positive, help="CPU threads (default: all cores)")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    page = measure(args)
    publish(page, args.out)
    return 0


if __name__ == "__main__":
    cli.run(main)
