"""The units of work of the audit: (author, prompt set, batch), and what each of them leaves on disk."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inference.vector_files import VectorFile
from interp.chat import template_settings
from interp.config import AdapterSpec, BaseModelSpec, DType, Experiment
from interp.errors import InputError
from interp.files import is_whole, list_names
from interp.manifest import content_identity, fingerprint
from interp.paths import OWN_READER
from interp.records import Prompt, PromptSet
from interp.work import fixed_batches

if TYPE_CHECKING:
    from interp.summaries import Keep


@dataclass(frozen=True)
class Unit:
    """One batch of prompts that an author answers; both readers meet it in the same composition."""

    author: str
    prompt_set: PromptSet
    index: int
    prompts: tuple[Prompt, ...]

    @property
    def folder_key(self) -> tuple[str, str]:
        return self.author, self.prompt_set.name


@dataclass(frozen=True)
class CaptureOptions:
    """What phases 1 and 2 keep of the residual stream."""

    response_only: bool
    stored_dtype: DType
    keep: "Keep" = "raw"
    vectors: tuple[VectorFile, ...] = ()

    def settings(self, experiment: Experiment) -> dict[str, Any]:
        raw = {"part": "response" if self.response_only else "all", "stored_dtype": self.stored_dtype}
        onto = {"vectors": {"/".join(vector.name): vector.hash for vector in self.vectors}}
        return {
            "keep": self.keep,
            "layers": list(experiment.config.layers),
            "capture_tokens": experiment.config.capture_tokens,
            **(raw if self.keep == "raw" else {}),
            **(onto if self.keep == "projections" else {}),
        }


def plan_units(experiment: Experiment, authors: Iterable[str], prompt_sets: Sequence[PromptSet]) -> list[Unit]:
    """All units, authors outermost; fixed before anything is skipped."""
    batches = {prompt_set.name: _batches(prompt_set, experiment.config.batch_size) for prompt_set in prompt_sets}
    return [
        Unit(author, prompt_set, index, tuple(prompts))
        for author in authors
        for prompt_set in prompt_sets
        for index, prompts in enumerate(batches[prompt_set.name])
    ]


def response_settings(experiment: Experiment, author: str, prompt_set: PromptSet) -> dict[str, Any]:
    """What determines an author's responses to a prompt set."""
    config = experiment.config
    return {
        **model_settings(experiment.base_spec(author), experiment.adapter_spec(author)),
        "sampling": config.sampling.model_dump(),
        "batch_size": config.batch_size,
        "prompts": fingerprint(prompt_set.model_dump(mode="json")),
        "template": template_settings(),
    }


def reading_settings(
    experiment: Experiment, author: str, prompt_set: PromptSet, reader: str, options: CaptureOptions
) -> dict[str, Any]:
    """What determines a reader's activations on an author's responses."""
    variant = author if reader == OWN_READER else reader
    return {
        **model_settings(experiment.base_spec(variant), experiment.adapter_spec(variant)),
        "responses": fingerprint(response_settings(experiment, author, prompt_set)),
        **options.settings(experiment),
    }


def model_settings(base: BaseModelSpec, adapter: AdapterSpec | None) -> dict[str, Any]:
    return {
        "model": content_identity(base.model, base.revision),
        "quantization": base.quantization.model_dump(mode="json") if base.quantization else None,
        "dtype": base.dtype,
        "adapter": content_identity(adapter.adapter, adapter.revision) if adapter else None,
    }


class Inventory:
    """Which finished files a run finds; each folder is listed once, each file looked into once."""

    def __init__(self) -> None:
        self._names: dict[Path, frozenset[str]] = {}
        self._whole: dict[Path, bool] = {}

    def missing(self, folder: Path, prompts: Iterable[Prompt], suffix: str) -> list[Prompt]:
        """The prompts whose file is not in the folder, or is torn."""
        if folder not in self._names:
            self._names[folder] = list_names(folder)
        return [prompt for prompt in prompts if not self._is_there(folder, prompt.id + suffix)]

    def _is_there(self, folder: Path, name: str) -> bool:
        path = folder / name
        if name in self._names[folder] and path not in self._whole:
            self._whole[path] = is_whole(path)
        return self._whole.get(path, False)

    def any_present(self, folder: Path, prompts: Sequence[Prompt], suffix: str) -> bool:
        return len(self.missing(folder, prompts, suffix)) < len(prompts)


def refuse_existing(found: str) -> None:
    raise InputError(f"outputs exist already ({found}): choose --skip-existing to do what is left, or --overwrite")


def _batches(prompt_set: PromptSet, size: int) -> list[list[Prompt]]:
    """Prompts of like length and number of turns together."""
    return fixed_batches(
        prompt_set.prompts, size, lambda prompt: (len(prompt.user_turns), sum(map(len, prompt.user_turns)), prompt.id)
    )
