"""What decides a sweep's files: the settings that its folder, here and in a store, is claimed with."""

from typing import Any

from experiments.concept_injection.prompts import read_prompt
from experiments.concept_injection.request import SweepRequest
from interp.manifest import content_identity


def settings_of(request: SweepRequest) -> dict[str, Any]:
    """All that decides a sweep's files: another request never goes on from this one's lines.

    Concepts and trials too: other concepts serve as controls, and what shares a batch depends on how many there are.
    """
    return {**claim_of(request), "model": content_identity(request.model_id, request.revision)}


def claim_of(request: SweepRequest) -> dict[str, Any]:
    """The same as every machine sees it: the model by its name, wherever its weights lie."""
    dumped = request.model_dump(mode="json", exclude={"experiment_id", "source"})
    return {**dumped, "prompt": read_prompt(request.prompt_version).model_dump(mode="json")}
