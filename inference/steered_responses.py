"""What a model answers while it is steered: its own replies to held-out questions, for a judge to read."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from inference.contrasted_residuals import chat_prompts
from inference.steered_scoring import PlannedPush, Push, planned_pushes, steers
from inference.steering_units import SteeringUnit, SteerOptions, asked_questions, responses_provenance
from interp.config import Experiment
from interp.generation import Completion, generate
from interp.interventions import Positions
from interp.models import LanguageModel
from interp.records import Sampling
from interp.steering_store import RESPONSES, SteeredResponses, save_responses


@dataclass(frozen=True)
class Asked:
    """A question (its number and its prompt as token ids) under a push, and the columns that name the push."""

    item: int
    prompt: tuple[int, ...]
    where: dict[str, Any]
    push: Push

    def key(self, trait: str) -> str:
        """Whose random numbers the reply is drawn with: the question's, under every push the same. So where two replies
        to a question differ, it is the push that made them differ."""
        return f"respond/{trait}/{self.item}"


def respond(experiment: Experiment, unit: SteeringUnit, options: SteerOptions, model: LanguageModel) -> None:
    """Answer a trait's questions under every push, and under none, and save the replies.

    The random directions are the first of those that scored text is held against.
    """
    import pyarrow as pa

    pushes = planned_pushes(experiment, unit, replace(options, n_random=options.n_response_random))
    asked = ask(model, asked_questions(unit, options), pushes)
    config = experiment.config
    rows: list[dict[str, Any]] = []
    for start in range(0, len(asked), config.batch_size):
        rows += _answer_batch(model, unit.trait.name, asked[start : start + config.batch_size], config.sampling)
    provenance = responses_provenance(experiment, unit, options)
    save_responses(experiment.paths.vectors, SteeredResponses(pa.Table.from_pylist(rows, RESPONSES), provenance))


def ask(model: LanguageModel, questions: Sequence[str], pushes: Sequence[PlannedPush]) -> list[Asked]:
    """Every question, without a system prompt, under every push; those of a question stand together."""
    prompts = chat_prompts(model, [None] * len(questions), questions)
    there = [(where, replace(push, vector=push.vector.to(model.device))) for where, push in pushes]
    return [Asked(item, prompt, where, push) for item, prompt in enumerate(prompts) for where, push in there]


def steered_replies(
    model: LanguageModel, prompts: Sequence[Sequence[int]], pushes: Sequence[Push], sampling: Sampling,
    keys: Sequence[str],
) -> list[Completion]:
    """The reply to each prompt under its own push, all in one batch.

    Pushed is where the model says a token of the reply: from the last token of the prompt on. The random numbers of a
    row belong to its key, whatever else is in the batch.
    """
    positions = Positions([len(prompt) - 1 for prompt in prompts])
    return generate(model, prompts, sampling, keys, steers(pushes, positions))


def _answer_batch(
    model: LanguageModel, trait: str, batch: Sequence[Asked], sampling: Sampling
) -> Iterator[dict[str, Any]]:
    """The rows of a batch, in its order."""
    keys = [each.key(trait) for each in batch]
    replies = steered_replies(model, [each.prompt for each in batch], [each.push for each in batch], sampling, keys)
    for each, reply in zip(batch, replies, strict=True):
        text = str(model.tokenizer.decode(reply.ids, skip_special_tokens=True))
        said = {"n_tokens": len(reply.ids), "stopped": reply.stop_token is not None, "text": text}
        yield {**each.where, "item": each.item, **said}
