"""Injecting concepts: many trials in one batch, each with its own direction, layer and strength."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from experiments.concept_injection.concept_vectors import ConceptVectors
from experiments.concept_injection.prompts import RenderedPrompt
from experiments.concept_injection.request import Style, SweepRequest
from experiments.concept_injection.trials import Push, Trial
from interp.generation import generate, shared_cache
from interp.interventions import EVERYWHERE, Positions, Steer, intervene

if TYPE_CHECKING:
    from interp.models import LanguageModel


def positions_of(prompt: RenderedPrompt, style: Style) -> Positions:
    """Where a style injects. `generation` begins at the prompt's last token, which says the first of the reply."""
    starts = {"all": EVERYWHERE, "generation": Positions(len(prompt.ids) - 1), "span": Positions(prompt.span_start)}
    return starts[style]


def untouched(prompt: RenderedPrompt, style: Style) -> int:
    """How many first tokens of the prompt a style leaves alone: these need running once for a whole batch."""
    return {"all": 0, "generation": len(prompt.ids) - 1, "span": prompt.span_start}[style]


def steers(
    pushes: Sequence[Push], vectors: ConceptVectors, request: SweepRequest, positions: Positions
) -> list[Steer]:
    """One for each layer that is pushed at; a row that is pushed elsewhere, or not at all, has strength 0 in it."""
    stacked = torch.stack([vectors.pushed(request, push) for push in pushes])
    return [
        Steer(layer, stacked, [float(push.layer == layer) for push in pushes], positions)
        for layer in sorted({push.layer for push in pushes if push.layer is not None})
    ]


def respond(
    model: "LanguageModel", request: SweepRequest, vectors: ConceptVectors, prompt: RenderedPrompt,
    trials: Sequence[Trial],
) -> list[str]:
    """The reply of each trial. Its random numbers belong to its id, whatever else is in the batch."""
    positions = positions_of(prompt, request.inject_style)
    interventions = steers([trial.push for trial in trials], vectors, request, positions)
    keys = [f"{trial.push.concept or ''}/{trial.id}" for trial in trials]
    shared = untouched(prompt, request.inject_style)
    completions = generate(model, [prompt.ids] * len(trials), request.sampling, keys, interventions, shared)
    return [str(model.tokenizer.decode(each.ids, skip_special_tokens=True)) for each in completions]


@torch.inference_mode()
def yes_over_no(
    model: "LanguageModel", request: SweepRequest, vectors: ConceptVectors, prompt: RenderedPrompt,
    pushes: Sequence[Push], yes: Sequence[int], no: Sequence[int],
) -> list[float]:
    """log P(yes) − log P(no) as the first token of the reply, under each push, in nats (arXiv 2602.20031)."""
    found: list[float] = []
    shared = untouched(prompt, request.inject_style)
    for start in range(0, len(pushes), request.batch_size):
        rows = pushes[start : start + request.batch_size]
        cache = shared_cache(model, [prompt.ids] * len(rows), shared)
        ids = torch.tensor([prompt.ids[shared:]] * len(rows), device=model.device)
        positions = torch.arange(shared, len(prompt.ids), device=model.device).expand_as(ids)
        interventions = steers(rows, vectors, request, positions_of(prompt, request.inject_style))
        with intervene(model.network, *interventions):
            logits = model.network(
                input_ids=ids, position_ids=positions, past_key_values=cache, use_cache=True, logits_to_keep=1
            ).logits
        scores = logits[:, -1].double()
        odds = scores[:, list(yes)].logsumexp(dim=-1) - scores[:, list(no)].logsumexp(dim=-1)
        found += odds.tolist()
    return found
