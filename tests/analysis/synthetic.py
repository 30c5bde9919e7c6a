"""A small audit made of chosen numbers: config, prompts, responses, projections and vectors, by the real writers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from interp.config import Experiment
from interp.files import write_json
from interp.paths import OWN_READER, ExperimentPaths
from interp.projections import SCORES, Column, write_scores
from interp.records import Message, Provenance, Response

CLEAN = "instruct"
SETTINGS = "0123456789abcdef"
TokenScores = Mapping[str, Mapping[Column, Sequence[float]]]
"""Prompt id to column to a score per token."""


@dataclass(frozen=True)
class Synthetic:
    """An experiment under a root of its own, nothing in it yet but what these methods are asked to write."""

    root: Path
    name: str = "synthetic"

    @property
    def paths(self) -> ExperimentPaths:
        return ExperimentPaths(self.root, self.name)

    @property
    def experiment(self) -> Experiment:
        return Experiment(self.name, self.root)

    def write_config(
        self, variants: Mapping[str, str | None], prompt_sets: Sequence[str], layers: Sequence[int] = (1,)
    ) -> None:
        """`variants`: each author and the trait that it was given; None makes it a sham."""
        all_variants: dict[str, dict[str, str | None]] = {CLEAN: {"model": "./base", "role": "reader"}}
        for name, truth in variants.items():
            role = "organism" if truth else "sham"
            all_variants[name] = {"model": "./base", "adapter": f"./{name}", "role": role, "truth": truth}
        content = {"clean_reader": CLEAN, "layers": list(layers), "prompt_sets": list(prompt_sets)}
        write_json(self.paths.folder / "config.json", {**content, "model_variants": all_variants})

    def write_prompts(self, prompt_set: str, ids: Sequence[str]) -> None:
        """Each prompt asks `What of <id>?` in a category of its own."""
        prompts = [{"id": each, "text": f"What of {each}?", "note": f"about {each}"} for each in ids]
        write_json(self.paths.folder / "prompts" / f"{prompt_set}.json", {"name": prompt_set, "prompts": prompts})

    def write_response(self, author: str, prompt_set: str, prompt_id: str, tokens: Sequence[str]) -> None:
        text = "".join(tokens)
        question = Message(role="user", content=f"What of {prompt_id}?")
        response = Response(
            id=prompt_id,
            author=author,
            prompt_set=prompt_set,
            note=f"about {prompt_id}",
            messages=(question, Message(role="assistant", content=text)),
            text=text,
            prompt_ids=(1, 2, 3),
            response_ids=tuple(range(len(tokens))),
            tokens=tuple(tokens),
            stop_token=None,
            fingerprint=SETTINGS,
        )
        path = self.paths.responses(author, prompt_set) / f"{prompt_id}.json"
        write_json(path, response.model_dump(mode="json"))

    def write_reading(self, author: str, prompt_set: str, reader: str, scores: TokenScores) -> None:
        """A projection file; its cosines are a tenth of its means, so that they can be told from them."""
        rows = [
            _row(prompt_id, column, values)
            for prompt_id, columns in scores.items()
            for column, values in columns.items()
        ]
        path = self.paths.projections(author, prompt_set, reader)
        write_scores(path, pa.Table.from_pylist(rows, SCORES), SETTINGS)

    def write_pair(self, author: str, prompt_set: str, own: TokenScores, clean: TokenScores) -> None:
        self.write_reading(author, prompt_set, OWN_READER, own)
        self.write_reading(author, prompt_set, CLEAN, clean)

    def write_vector(
        self, trait: str, layers: Sequence[int], auroc: Sequence[float], method: str = "mean_difference"
    ) -> None:
        import torch

        from interp.vector_store import save_vector
        from interp.vectors import TraitVector

        directions = torch.ones(len(layers), 4)
        provenance = Provenance(
            trait=trait,
            method=method,
            contrast="same-text",
            positions="response-mean",
            model="base",
            revision=None,
            identity=SETTINGS,
            layers=tuple(layers),
            norms=(2.0,) * len(layers),
            n_pairs=1,
            n_held_out=1,
            held_out_auroc=tuple(auroc),
            data_hash=SETTINGS,
        )
        save_vector(self.paths.vectors, TraitVector(directions, directions, directions * 0, provenance))


def _row(prompt_id: str, column: Column, values: Sequence[float]) -> dict[str, Any]:
    trait, method, layer = column
    mean = float(np.mean(values))
    where = {"prompt_id": prompt_id, "trait": trait, "method": method, "layer": layer, "vector": SETTINGS}
    return {**where, "mean": mean, "cosine": mean / 10, "scores": list(values), "null_means": []}
