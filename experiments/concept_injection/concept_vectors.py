"""Concept vectors: the residual for "Tell me about {word}." less its mean over baseline words (Lindsey 2025).

All layers come from one pass. Beside the concepts' vectors stand random directions, and the typical length of a
residual at each layer.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from experiments.concept_injection.prompts import check_baseline, read_words
from experiments.concept_injection.request import SweepRequest
from experiments.concept_injection.trials import Push
from interp.capture import Reading, read_residuals
from interp.chat import prompt_ids
from interp.errors import InputError
from interp.files import write_tensors
from interp.generation import row_uniforms
from interp.records import Message
from interp.vectors import unit

if TYPE_CHECKING:
    from interp.models import LanguageModel

FILE = "vectors.safetensors"
_NORMS = "residual norms of the baseline"


@dataclass(frozen=True)
class ConceptVectors:
    """A direction per concept and layer, in residual units, and the mean length of the baseline's residuals."""

    directions: dict[str, Float[Tensor, "layers d_model"]]
    residual_norms: Float[Tensor, " layers"]
    layers: tuple[int, ...]

    def at(self, concept: str, layer: int) -> Float[Tensor, " d_model"]:
        return self.directions[concept][self.layers.index(layer)]

    def vector_norm(self, concept: str, layer: int) -> float:
        return float(self.at(concept, layer).norm())

    def magnitude(self, request: SweepRequest, push: Push) -> float:
        """The length of what is added, in residual units: strength times the unit that the request names."""
        if push.layer is None or push.concept is None:
            return 0.0
        if request.strength_unit == "residual":
            return push.strength * float(self.residual_norms[self.layers.index(push.layer)])
        return push.strength * self.vector_norm(push.concept, push.layer)

    def pushed(self, request: SweepRequest, push: Push) -> Float[Tensor, " d_model"]:
        """What is added: the push's direction at its magnitude, whichever direction that is; zero for a control."""
        if push.layer is None or push.direction is None:
            return torch.zeros_like(next(iter(self.directions.values()))[0])
        if push.condition == "random":
            direction = random_direction(self.at(request.concepts[0], push.layer), request.sampling.seed, push)
        else:
            direction = self.at(push.direction, push.layer)
        return unit(direction) * self.magnitude(request, push)

    def save(self, folder: Path) -> None:
        tensors = {f"concept {name}": values for name, values in self.directions.items()}
        layers = ",".join(map(str, self.layers))
        write_tensors(folder / FILE, tensors | {_NORMS: self.residual_norms}, {"layers": layers})


def random_direction(like: Float[Tensor, " d_model"], seed: int, push: Push) -> Float[Tensor, " d_model"]:
    """A direction drawn from all evenly; its numbers belong to the seed, the concept, the layer and its name."""
    uniforms = row_uniforms(seed, f"{push.concept}/{push.layer}/{push.direction}", like.shape[-1])
    normals: Tensor = torch.special.ndtri(torch.from_numpy(uniforms).clamp(1e-12, 1 - 1e-12))
    return normals.to(like)


def make_vectors(model: "LanguageModel", request: SweepRequest, layers: Sequence[int]) -> ConceptVectors:
    """Read all words in passes of many.

    Raises:
        InputError: a concept is a baseline word, or a vector is zero.
    """
    baseline = read_words(request.baseline)
    check_baseline(baseline, request.concepts, request.baseline)
    words = (*request.concepts, *baseline)
    resid = read_words_residuals(model, request, words, layers)
    of_baseline = resid[len(request.concepts) :]
    directions = resid[: len(request.concepts)] - of_baseline.mean(dim=0)
    for concept, vector in zip(request.concepts, directions, strict=True):
        if not bool((vector.norm(dim=-1) > 0).all()):
            raise InputError(f"the vector of {concept!r} is zero: the model reads it as it does the baseline")
    of_concepts = dict(zip(request.concepts, directions, strict=True))
    return ConceptVectors(of_concepts, of_baseline.norm(dim=-1).mean(dim=0), tuple(layers))


def read_words_residuals(
    model: "LanguageModel", request: SweepRequest, words: Sequence[str], layers: Sequence[int]
) -> Float[Tensor, "words layers d_model"]:
    """The residual of one token of each word's prompt, float32."""
    readings = [_reading(model, request, word) for word in words]
    found = {index: resid[:, 0].float() for index, resid in read_residuals(model, readings, layers)}
    return torch.stack([found[index] for index in range(len(words))])


def _reading(model: "LanguageModel", request: SweepRequest, word: str) -> Reading:
    """The prompt up to the token that is kept, which is its last."""
    text = f"Tell me about {word}."
    encode = model.tokenizer
    if not request.vector_template:
        ids = encode(text)["input_ids"]
    else:
        ids = prompt_ids(encode, [Message(role="user", content=text)])
        if request.vector_token == "last":
            ids = ids[: _end_of(text, ids, encode)]
    return Reading(tuple(ids), len(ids) - 1)


def _end_of(text: str, ids: Sequence[int], tokenizer: object) -> int:
    """How many ids of a templated prompt it takes until its text is whole."""
    for stop in range(1, len(ids) + 1):
        if text in tokenizer.decode(ids[:stop], skip_special_tokens=False):  # type: ignore[attr-defined]
            return stop
    raise InputError(f"the chat template changes the text {text!r}: use --vector-token reply")
