"""A sweep over a tiny random model, small enough to be run many times."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from experiments.concept_injection.concept_vectors import ConceptVectors, make_vectors
from experiments.concept_injection.paths import SweepPaths
from experiments.concept_injection.prompts import RenderedPrompt, read_prompt, render
from experiments.concept_injection.request import SweepRequest
from experiments.concept_injection.sweep import main
from interp.jsonl import read_lines
from interp.models import LanguageModel
from interp.records import Sampling


@pytest.fixture(scope="session")
def request_of(llama_folder: Path) -> Callable[..., SweepRequest]:
    """A request that anything can be changed of."""

    def make(**changes: Any) -> SweepRequest:
        given: dict[str, Any] = {
            "experiment_id": "e", "model": "tiny", "source": str(llama_folder), "dtype": "float32", "threads": 1,
            "concepts": ("fear", "ocean"), "layers": (1, 2), "strengths": (2.0, 8.0), "trials": 2,
            "control_trials": 3, "random_directions": 2, "batch_size": 8, "yes_bias": False,
            "sampling": Sampling(max_new_tokens=6, temperature=1.0),
        }  # fmt: skip
        return SweepRequest(**{**given, **changes})

    return make


@pytest.fixture(scope="session")
def vectors(llama: LanguageModel, request_of: Callable[..., SweepRequest]) -> ConceptVectors:
    return make_vectors(llama, request_of(), (1, 2))


@pytest.fixture(scope="session")
def prompt(llama: LanguageModel) -> RenderedPrompt:
    return render(llama.tokenizer, read_prompt("v2"))


@dataclass(frozen=True)
class Swept:
    """A sweep's command, and what it made."""

    root: Path
    request: SweepRequest
    request_file: Path

    def run(self, *flags: str) -> int:
        return main(self.flags(*flags))

    def flags(self, *more: str) -> list[str]:
        return ["--local", "--request", str(self.request_file), "--root", str(self.root), "--device", "cpu", *more]

    @property
    def paths(self) -> SweepPaths:
        return SweepPaths.of(self.root, self.request)

    def content(self) -> dict[str, list[dict[str, Any]]]:
        """Every line of every file, timestamps left out."""
        found = {}
        for path in sorted(self.paths.folder.glob("*.jsonl")):
            found[path.name] = [{**row, "timestamp": None} for row in read_lines(path)]
        return found


@pytest.fixture
def sweep_in(request_of: Callable[..., SweepRequest], tmp_path: Path) -> Callable[..., Swept]:
    """A sweep in a folder of its own."""

    def make(name: str = "root", **changes: Any) -> Swept:
        request = request_of(**changes)
        file = tmp_path / f"{name}.request.json"
        file.write_text(request.model_dump_json())
        return Swept(tmp_path / name, request, file)

    return make
