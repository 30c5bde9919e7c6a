"""Phase 1: every organism answers every prompt, and reads its own answers.

Reads   experiments/<experiment>/config.json, the prompt sets, base model and adapters.
Writes  inference/<author>/responses/<prompt_set>/<id>.json and
        inference/<author>/activations/<prompt_set>/self/<id>.pt

Example: python inference/generate_responses.py --experiment audit-bleachers --response-only --skip-existing
"""

import argparse
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from inference.options import capture_options, model_phase_parser, read_capture_options, read_experiment
from inference.phases import Phase, run_phase
from inference.units import CaptureOptions, Inventory, Unit, plan_units, reading_settings, response_settings
from interp import cli
from interp.config import Experiment
from interp.files import json_bytes, write_many
from interp.manifest import fingerprint
from interp.paths import OWN_READER
from interp.records import Message, Prompt, Response, read_record

if TYPE_CHECKING:
    from interp.generation import Completion
    from interp.models import LanguageModel

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class GenerateResponses(Phase):
    """Generate, then read: the residuals come from one forced pass over the finished responses."""

    experiment: Experiment
    options: CaptureOptions
    name: str = "generate"

    def folders(self, unit: Unit) -> dict[Path, str]:
        paths = self.experiment.paths
        return {
            paths.responses(*unit.folder_key): ".json",
            paths.activations(*unit.folder_key, OWN_READER): ".pt",
        }

    def settings(self, unit: Unit, folder: Path) -> dict[str, object]:
        if folder == self.experiment.paths.responses(*unit.folder_key):
            return response_settings(self.experiment, unit.author, unit.prompt_set)
        return reading_settings(self.experiment, unit.author, unit.prompt_set, OWN_READER, self.options)

    def variant(self, unit: Unit) -> str:
        return unit.author

    def do(self, unit: Unit, model: "LanguageModel", inventory: Inventory) -> None:
        from inference.readings import store_readings

        responses = self._responses(unit, model, inventory)
        store_readings(self.experiment, unit, OWN_READER, responses, model, self.options, inventory)

    def _responses(self, unit: Unit, model: "LanguageModel", inventory: Inventory) -> list[Response]:
        """The batch's responses: from disk when all are there, else generated, all of them, and what lacks written."""
        folder = self.experiment.paths.responses(*unit.folder_key)
        missing = {prompt.id for prompt in inventory.missing(folder, unit.prompts, ".json")}
        if not missing:
            return [read_record(Response, folder / f"{prompt.id}.json") for prompt in unit.prompts]
        responses = answer(self.experiment, unit, model)
        write_many(
            {
                folder / f"{response.id}.json": json_bytes(response.model_dump(mode="json"))
                for response in responses
                if response.id in missing
            }
        )
        return responses


def answer(experiment: Experiment, unit: Unit, model: "LanguageModel") -> list[Response]:
    """The author's responses to a batch, turn by turn; every turn is generated for the whole batch at once."""
    from interp.chat import continuation_ids, prompt_ids
    from interp.generation import generate

    conversations = [_Conversation(unit, prompt) for prompt in unit.prompts]
    done: list[Completion | None] = [None] * len(conversations)
    for turn in range(max(len(prompt.user_turns) for prompt in unit.prompts)):
        rows = [row for row, prompt in enumerate(unit.prompts) if turn < len(prompt.user_turns)]
        for row in rows:
            conversation, last = conversations[row], done[row]
            if last is not None:
                conversation.hear_reply(last.ids, _decode(model, last.ids))
            conversation.messages.append(Message(role="user", content=unit.prompts[row].user_turns[turn]))
            ids = prompt_ids if last is None else continuation_ids
            conversation.ids += ids(model.tokenizer, conversation.messages)
        keys = [f"{unit.prompt_set.name}/{unit.prompts[row].id}/{turn}" for row in rows]
        prompts = [conversations[row].ids for row in rows]
        for row, completion in zip(rows, generate(model, prompts, experiment.config.sampling, keys), strict=True):
            done[row] = completion
    settings = fingerprint(response_settings(experiment, unit.author, unit.prompt_set))
    return [
        conversation.response(completion, model, settings)
        for conversation, completion in zip(conversations, done, strict=True)
        if completion is not None
    ]


class _Conversation:
    """One prompt's messages and token ids, as they grow."""

    def __init__(self, unit: Unit, prompt: Prompt) -> None:
        self.unit, self.prompt = unit, prompt
        system = unit.prompt_set.system_prompt
        self.messages = [] if system is None else [Message(role="system", content=system)]
        self.ids: list[int] = []

    def hear_reply(self, ids: Sequence[int], text: str) -> None:
        self.messages.append(Message(role="assistant", content=text))
        self.ids += ids

    def response(self, completion: "Completion", model: "LanguageModel", settings: str) -> Response:
        from interp.chat import token_texts

        text = _decode(model, completion.ids)
        return Response(
            id=self.prompt.id,
            author=self.unit.author,
            prompt_set=self.unit.prompt_set.name,
            note=self.prompt.note,
            messages=(*self.messages, Message(role="assistant", content=text)),
            text=text,
            prompt_ids=tuple(self.ids),
            response_ids=completion.ids,
            tokens=tuple(token_texts(model.tokenizer, completion.ids)),
            stop_token=completion.stop_token,
            fingerprint=settings,
        )


def _decode(model: "LanguageModel", ids: Sequence[int]) -> str:
    return str(model.tokenizer.decode(ids, skip_special_tokens=True))


def build_parser() -> argparse.ArgumentParser:
    return model_phase_parser(__doc__, [capture_options()], sampling=True)


def main(argv: Sequence[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    experiment = read_experiment(args)
    phase = GenerateResponses(experiment, read_capture_options(args, experiment))
    authors = experiment.select_variants(args.model_variant)
    units = plan_units(experiment, authors, experiment.select_prompt_sets(args.prompt_set))
    return run_phase(phase, args.shard.of(units), args)


if __name__ == "__main__":
    cli.run(main)
