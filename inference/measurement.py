"""A real batch, timed, and proof that hooks on this model see and change what they should."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch

from inference.generate_responses import answer
from inference.readings import reading_of
from inference.units import CaptureOptions, Unit
from interp.capture import Reading, read_residuals
from interp.config import Experiment
from interp.errors import InputError
from interp.interventions import Steer, intervene
from interp.models import LanguageModel, load_language_model, set_threads

Result = TypeVar("Result")


@dataclass(frozen=True)
class Measured:
    """Seconds for the parts of the job; `longest_factor`: how much longer a batch can get than the timed one."""

    load_seconds: float
    adapter_seconds: float
    batch_seconds: float
    longest_factor: float


def measure_batch(
    experiment: Experiment, units: Sequence[Unit], options: CaptureOptions, device: str | None, threads: int | None
) -> Measured:
    """Load the model, verify its hooks, and do the first unit without writing anything."""
    set_threads(threads or experiment.config.threads)
    unit = units[len(units) // 2]
    load, model = _timed(lambda: load_language_model(experiment.base_spec(unit.author), device))
    verify_hooks(model)
    adapter, _ = _timed(lambda: model.use_adapter(experiment.adapter_spec(unit.author)))
    generate, responses = _timed(lambda: answer(experiment, unit, model))
    layers, tokens = experiment.config.layers, experiment.config.capture_tokens
    readings = [reading_of(response, options.response_only) for response in responses]
    read, _ = _timed(lambda: list(read_residuals(model, readings, layers, tokens)))
    longest = max(len(response.response_ids) for response in responses) or 1
    factor = experiment.config.sampling.max_new_tokens / longest
    return Measured(load, adapter, generate + 2 * read, max(factor, 1.0))


@torch.inference_mode()
def verify_hooks(model: LanguageModel) -> None:
    """See that a reading equals the model's own hidden states, and that an edit reaches the logits.

    Raises:
        InputError: it does not; nothing measured through hooks on this model could be trusted.
    """
    ids = model.tokenizer("The quick brown fox", add_special_tokens=False)["input_ids"]
    middle = model.n_layers // 2
    batch = torch.tensor([ids], device=model.device)
    ((_, read),) = read_residuals(model, [Reading(ids)], [middle])
    own = model.network(input_ids=batch, output_hidden_states=True).hidden_states[middle + 1][0].cpu()
    if not torch.equal(read[0], own):
        raise InputError(f"{model.spec.model}: hooks do not see its hidden states at layer {middle}")
    before = model.network(input_ids=batch).logits
    push = torch.ones(model.d_model) * float(own.float().norm(dim=-1).mean()) / model.d_model**0.5
    with intervene(model.network, Steer(middle, push)):
        after = model.network(input_ids=batch).logits
    if torch.equal(before, after):
        raise InputError(f"{model.spec.model}: an edit of layer {middle} does not reach its logits")


def _timed(work: Callable[[], Result]) -> tuple[float, Result]:
    start = time.perf_counter()
    result = work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start, result
