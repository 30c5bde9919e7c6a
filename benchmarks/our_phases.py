"""The phases' own `main`, with a stopwatch held to the functions that they call. Nothing is computed here."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple
from unittest.mock import patch

from benchmarks.jobs import Job, PhaseName
from benchmarks.stopwatch import Stopwatch


class _Timed(NamedTuple):
    """A function where it is looked up, and the stage that its calls are charged to."""

    owner: Any
    name: str
    stage: str


def generate(job: Job, watch: Stopwatch) -> None:
    """Phase 1: `answer` is generation, `store_readings` without its writing is the capture of the own answers."""
    from inference import generate_responses, readings
    from interp.models import LanguageModel

    timed = [
        *_loading(LanguageModel),
        _Timed(generate_responses, "answer", "generation"),
        _Timed(generate_responses, "write_many", "writing"),
        _Timed(readings, "store_readings", "capture"),
        _Timed(readings, "write_many", "writing"),
    ]
    with _held(watch, timed):
        generate_responses.main([*_asked(job), "--response-only"])


def replay(job: Job, watch: Stopwatch) -> None:
    """Phase 2."""
    from inference import readings, replay_responses
    from interp.models import LanguageModel

    timed = [
        *_loading(LanguageModel),
        _Timed(replay_responses.ReplayResponses, "do", "replay"),
        _Timed(readings, "write_many", "writing"),
    ]
    with _held(watch, timed):
        replay_responses.main([*_asked(job), "--response-only"])


def project(job: Job, watch: Stopwatch) -> None:
    """Phase 3."""
    from inference import project_raw_activations_onto_traits

    with watch.stage("projection"):
        project_raw_activations_onto_traits.main(_asked(job))


def extract_vectors(job: Job, watch: Stopwatch) -> None:
    """Trait vectors for both sides; not part of the comparison."""
    from inference import extract_trait_vectors

    with watch.stage("extraction"):
        extract_trait_vectors.main([*_asked(job), "--skip-existing"])


def _asked(job: Job) -> list[str]:
    return ["--experiment", job.experiment, "--root", str(job.root), "--threads", str(job.threads)]


def _loading(language_model: Any) -> list[_Timed]:
    from interp import models

    return [_Timed(models, "load_language_model", "load"), _Timed(language_model, "use_adapter", "load")]


@contextmanager
def _held(watch: Stopwatch, functions: Sequence[_Timed]) -> Iterator[None]:
    """Time the functions while the block runs; a name that is no longer there is an AttributeError."""
    with ExitStack() as stack:
        for owner, name, stage in functions:
            stack.enter_context(patch.object(owner, name, watch.timed(stage, getattr(owner, name))))
        yield


PHASE_FUNCTIONS: dict[PhaseName, Callable[[Job, Stopwatch], None]] = {
    "generate": generate, "replay": replay, "project": project,
}
