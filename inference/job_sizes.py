"""How large a cluster job every step of an audit wants: array width, GPU, cores, memory and time.

Bounds, not forecasts: a job that asks for too much time only starts later; one that meets its limit is requeued and
goes on. So every response runs to its limit.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from inference.extract_trait_vectors import METHOD_NAMES
from inference.model_cost import ADAPTER_SECONDS, SLACK, ModelCost, gpu_shortage, model_cost
from inference.plan import Plan
from inference.units import plan_units
from inference.work_left import WorkLeft
from interp.cli import duration
from interp.config import Experiment
from interp.errors import InputError
from interp.vector_store import list_vectors

PROMPT_TOKENS = 200
"""What a prompt counts for: without the tokenizer its tokens cannot be counted."""
READING_BYTES_PER_SECOND = 200e6
"""Phase 3: activations read from a cold disk and projected on a few cores."""
WORKER_SECONDS = 4 * 3600.0
"""Work of one array task: long beside loading a model, short beside the usual time limit."""
WORKER_READINGS = 50
STEP_MINUTES = 30
HOST_BYTES = 5e9 + 8e9
"""Beside the weights while they are loaded: a checkpoint's largest shard; Python, torch and a CUDA context."""
LIGHT_HOST_BYTES = 2e9
"""Python and the libraries of a step without a GPU."""
CHUNK_FILES = 64
"""Activation files that phase 3 holds at a time (inference/scoring.py): once as stored, twice that as float32, and
one copy in passing."""


@dataclass(frozen=True)
class Machine:
    """What a cluster offers: a GPU's memory in GB, how one is asked for, the widest array, the longest job."""

    gpu_gb: float
    gres: str
    workers: int
    time_limit_minutes: int


@dataclass(frozen=True)
class JobSize:
    """What a step's job asks for: array tasks (None: no array); for each task GPU (None: none), cores, GB, minutes."""

    width: int | None
    gres: str | None
    cpus: int
    memory_gb: int
    minutes: int
    arithmetic: str = field(default="", compare=False)

    def sbatch_options(self) -> list[str]:
        """Options that override an sbatch file's directives: `--gres=none` takes back the GPU asked for there."""
        hours, minutes = divmod(self.minutes, 60)
        return [
            *([] if self.width is None else [f"--array=0-{self.width - 1}"]),
            f"--gres={self.gres or 'none'}",
            f"--cpus-per-task={self.cpus}",
            f"--mem={self.memory_gb}G",
            f"--time={hours // 24}-{hours % 24:02}:{minutes:02}:00",
        ]


BUILD = JobSize(None, None, 2, 4, 60, "two adapters at a time, a thread each")
"""Building the embedded default; all that can be said before its config.json is there."""


def job_sizes(
    experiment: Experiment, plan: Plan, left: WorkLeft, machine: Machine, width: int | None = None
) -> dict[str, JobSize]:
    """The jobs of the steps that have work left: of build, vectors, phase1, phase2, phase3, analysis.

    Args:
        width: array tasks of every array, in place of the computed number.

    Raises:
        InputError: the model's size is not known, or the GPU is too small for it.
    """
    cost = model_cost(experiment, plan, left)
    shortage = gpu_shortage(experiment, plan, machine.gpu_gb)
    if shortage:
        raise InputError(shortage)
    sizer = _Sizer(experiment, plan, left, machine, cost, width)
    steps: dict[str, tuple[int, Callable[[], JobSize]]] = {
        "build": (left.build, lambda: BUILD),
        "vectors": (left.traits, sizer.vectors),
        "phase1": (left.generate_batches, sizer.phase1),
        "phase2": (left.replay_batches, sizer.phase2),
        "phase3": (left.readings, sizer.phase3),
        "analysis": (left.analysis, sizer.analysis),
    }
    return {name: size() for name, (count, size) in steps.items() if count}


@dataclass(frozen=True)
class _Sizer:
    """The size of each step's job."""

    experiment: Experiment
    plan: Plan
    left: WorkLeft
    machine: Machine
    cost: ModelCost
    fixed_width: int | None

    def vectors(self) -> JobSize:
        """Each trait's questions are answered and read under both kinds of system prompt."""
        config, names = self.experiment.config, self.experiment.paths.trait_names
        traits = [self.experiment.trait(name) for name in names]
        lists = [questions for trait in traits for questions in (trait.questions, trait.held_out_questions)]
        batches = 2 * sum(math.ceil(len(questions) / config.batch_size) for questions in lists) / max(len(traits), 1)
        generate, read = self._batch_seconds(config.batch_size, 1)
        return self._model_job(_Work(self.left.traits, "traits", batches * (generate + read), self.cost.load_seconds))

    def phase1(self) -> JobSize:
        """Each batch is generated and read once; a worker may come by every author."""
        seconds = sum(self._batch_seconds(*self._mean_batch()))
        bases = {self.experiment.base_spec(author) for author in self.plan.authors}
        once = len(bases) * self.cost.load_seconds + len(self.plan.authors) * ADAPTER_SECONDS
        return self._model_job(_Work(self.left.generate_batches, "batches", seconds, once))

    def phase2(self) -> JobSize:
        """Each batch is read once, with no adapter on."""
        seconds = self._batch_seconds(*self._mean_batch())[1]
        return self._model_job(_Work(self.left.replay_batches, "batches", seconds, self.cost.load_seconds))

    def phase3(self) -> JobSize:
        """No GPU: a reading's files go by in chunks, its scores are held until it is done."""
        prompts = max(len(each.prompts) for each in self.plan.prompt_sets)
        seconds = SLACK * prompts * self.plan.most_file_bytes / READING_BYTES_PER_SECOND
        work = _Work(self.left.readings, "readings", seconds, 0.0)
        chunk = min(prompts, CHUNK_FILES) * self.plan.most_file_bytes
        memory = LIGHT_HOST_BYTES + 4 * chunk + 2 * prompts * self._score_bytes(self.plan.most_tokens)
        return self._job(work, self._width(work.count, WORKER_READINGS), None, 4, _gigabytes(memory, 4))

    def analysis(self) -> JobSize:
        """One job: all responses' means, in double precision and with copies; one author's scores at a time."""
        prompts = max(len(each.prompts) for each in self.plan.prompt_sets)
        scores = 4 * prompts * self._score_bytes(self.plan.most_tokens)
        memory = LIGHT_HOST_BYTES + 64 * self.plan.n_responses * self._score_bytes(1) + scores
        return JobSize(None, None, 2, _gigabytes(memory, 4), self._minutes(0.0), "reads scores only")

    def _mean_batch(self) -> tuple[float, float]:
        """Responses and turns of a batch, in the mean over an author's."""
        units = plan_units(self.experiment, self.plan.authors[:1], self.plan.prompt_sets)
        turns = [max(len(prompt.user_turns) for prompt in unit.prompts) for unit in units]
        return self.plan.n_prompts / len(units), sum(turns) / len(units)

    def _batch_seconds(self, responses: float, turns: float) -> tuple[float, float]:
        """To generate a batch, and to read it."""
        longest = self.experiment.config.sampling.max_new_tokens
        read = self.cost.pass_seconds(responses * turns * (PROMPT_TOKENS + longest))
        return self.cost.generate_seconds(turns * longest), read

    def _score_bytes(self, tokens: int) -> int:
        """Scores of a response: float32, for every vector that there is or will be, at every layer."""
        names = len(self.experiment.paths.trait_names) * len(METHOD_NAMES)
        vectors = max(len(list_vectors(self.experiment.paths.vectors)), names)
        return 4 * tokens * vectors * len(self.plan.layers)

    def _model_job(self, work: "_Work") -> JobSize:
        """A job with the model in memory: on a GPU, or for a small one on as many cores as the config has threads."""
        width = self._width(work.count, WORKER_SECONDS / max(work.seconds_each, 1.0))
        weights = self.plan.weight_bytes or 0.0
        on_the_way = 2 * self.experiment.config.batch_size * self.plan.most_file_bytes
        if self.cost.on_gpu:
            memory = max(32, _gigabytes(HOST_BYTES + weights + on_the_way, 16))
            return self._job(work, width, self.machine.gres, 8, memory)
        memory = max(4, _gigabytes(4 * weights + on_the_way, 4))
        return self._job(work, width, None, self.experiment.config.threads or 2, memory)

    def _width(self, count: int, per_worker: float) -> int:
        """Array tasks, so that each has about `per_worker` of the work; where the width is given, just that."""
        wanted = math.ceil(count / max(math.floor(per_worker), 1))
        return self.fixed_width or max(1, min(wanted, count, self.machine.workers))

    def _job(self, work: "_Work", width: int | None, gres: str | None, cpus: int, memory_gb: int) -> JobSize:
        share = math.ceil(work.count / (width or 1))
        seconds = share * work.seconds_each + work.seconds_once
        return JobSize(width, gres, cpus, memory_gb, self._minutes(seconds), work.arithmetic(width or 1, share))

    def _minutes(self, seconds: float) -> int:
        """Whole half hours; no longer than a job may be: it is then requeued, and goes on."""
        return min(max(math.ceil(seconds / 60 / STEP_MINUTES), 1) * STEP_MINUTES, self.machine.time_limit_minutes)


@dataclass(frozen=True)
class _Work:
    """Equal pieces of work, and what each worker does once before them."""

    count: int
    what: str
    seconds_each: float
    seconds_once: float

    def arithmetic(self, workers: int, share: int) -> str:
        """How the hours come about, in words."""
        total = duration(self.count * self.seconds_each)
        each = duration(share * self.seconds_each + self.seconds_once)
        once = f" + {duration(self.seconds_once)} to start" if self.seconds_once else ""
        return (
            f"{total} = {self.count} {self.what} × {self.seconds_each:.3g} s; "
            f"{workers} × {each} ({share} {self.what}{once})"
        )


def _gigabytes(count: float, step: int) -> int:
    """Bytes in GB, up to a whole number of steps."""
    return max(math.ceil(count / 1e9 / step), 1) * step
