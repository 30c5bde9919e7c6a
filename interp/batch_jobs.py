"""Jobs of a batch scheduler (SLURM): handing them in, noting them down, and what became of them.

Nothing here asks for accounting (`sacct`): what is waiting or running is read from the queue, what has ended from the
jobs' own logs, which slurm/worker.sh begins and ends with a line of its own.
"""

import re
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from interp.errors import InputError
from interp.files import write_json
from interp.records import Record, read_record

_SECONDS = 60
"""A scheduler that does not answer for so long is down."""
_NEVER = "DependencyNeverSatisfied"

State = Literal["waiting", "running", "held", "done", "failed", "lost", "forgotten"]


class Job(Record):
    """A job that was handed in: one step of a chain, an array of `elements` (None: no array).

    `name` tells it from another that got the same number later: a scheduler that crashes gives numbers out again.
    """

    step: str
    name: str
    id: str
    arguments: tuple[str, ...]
    elements: int | None
    waits_for: str
    log: str

    def logs(self, folder: Path) -> list[Path]:
        """The log of each element: `log` with SLURM's %A and %a filled in."""
        name = self.log.replace("%A", self.id)
        return [folder / name.replace("%a", str(index)) for index in range(self.elements or 1)]


class SubmittedJobs(Record):
    """All jobs that were ever handed in for an experiment, the latest last."""

    jobs: tuple[Job, ...] = ()

    def latest(self) -> dict[str, Job]:
        """The last job of every step."""
        return {job.step: job for job in self.jobs}

    def last(self, step: str, arguments: Sequence[str]) -> Job | None:
        """The last job that does a step with just these arguments."""
        same = [job for job in self.jobs if job.step == step and job.arguments == tuple(arguments)]
        return same[-1] if same else None


def read_submitted(folder: Path) -> SubmittedJobs:
    path = folder / "submitted.json"
    return read_record(SubmittedJobs, path) if path.exists() else SubmittedJobs()


def note_submitted(folder: Path, job: Job) -> None:
    """Write a job down; at once, so that none is forgotten when the next cannot be handed in."""
    jobs = (*read_submitted(folder).jobs, job)
    write_json(folder / "submitted.json", SubmittedJobs(jobs=jobs).model_dump(mode="json"))


def submit(script: Path, options: Sequence[str], arguments: Sequence[str]) -> str:
    """Hand a job in; its id.

    Raises:
        InputError: the scheduler refuses it, or is not there.
    """
    return _ask("sbatch", "--parsable", *options, str(script), *arguments).strip().split(";")[0]


def cancel(jobs: Iterable[str]) -> None:
    """Cancel jobs or single elements (`12_3`)."""
    ids = list(jobs)
    if ids:
        _ask("scancel", *ids)


@dataclass(frozen=True)
class Queued:
    """An element that the scheduler knows and has not ended with. `index`: None where the job is no array."""

    job: str
    index: int | None
    state: str
    reason: str
    job_name: str

    def is_of(self, job: Job) -> bool:
        return (self.job, self.job_name) == (job.id, job.name)

    @property
    def element(self) -> str:
        """As scancel and scontrol want it."""
        return self.job if self.index is None else f"{self.job}_{self.index}"

    @property
    def is_held(self) -> bool:
        """Whether it will never start by itself."""
        return self.state == "PENDING" and ("held" in self.reason.lower() or _NEVER in self.reason)


def read_queue() -> list[Queued]:
    """What waits or runs of this user's jobs.

    Raises:
        InputError: the scheduler cannot be asked.
    """
    lines = _ask("squeue", "--noheader", "--array", "--me", "--format=%F|%K|%T|%r|%j").splitlines()
    rows = [line.strip().split("|", 4) for line in lines]
    return [Queued(job, int(index) if index.isdecimal() else None, *rest) for job, index, *rest in rows]


@dataclass(frozen=True)
class Outcome:
    """What became of an element; `why`: in its own last words, or the scheduler's."""

    state: State
    why: str = ""
    log: Path | None = None


def outcomes(job: Job, folder: Path, queue: Sequence[Queued]) -> list[Outcome]:
    """What became of each element of a job."""
    queued = {each.index: each for each in queue if each.is_of(job)}
    indices = [None] if job.elements is None else list(range(job.elements))
    return [
        _in_queue(queued[index], log) if index in queued else _ended(log)
        for index, log in zip(indices, job.logs(folder), strict=True)
    ]


def _in_queue(each: Queued, log: Path) -> Outcome:
    if each.is_held:
        return Outcome("held", each.reason, log)
    return Outcome("waiting" if each.state == "PENDING" else "running", each.reason, log)


def _ended(log: Path) -> Outcome:
    """What the log says of an element that has left the queue."""
    if not log.exists():
        return Outcome("forgotten", "it never ran, and the scheduler does not know it")
    last_run = log.read_text(errors="replace").rpartition("== begin ")[2]
    ends = re.findall(r"^== end \S+ with status (\d+)", last_run, re.MULTILINE)
    if not ends:
        return Outcome("lost", "ended without a word: killed, out of memory, or its node is gone", log)
    if ends[-1] == "0":
        return Outcome("done", log=log)
    return Outcome("failed", _last_words(last_run) or f"exit status {ends[-1]}", log)


def _last_words(text: str) -> str:
    """The line of an error of ours, else a traceback's last line."""
    errors = re.findall(r"^error: (.*)|^(\w[\w.]*(?:Error|Exception)\b.*)", text, re.MULTILINE)
    return "".join(errors[-1]) if errors else ""


def _ask(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS)
    except FileNotFoundError:
        raise InputError(f"there is no {command[0]} here: run this on a cluster's login node") from None
    except subprocess.TimeoutExpired:
        raise InputError(f"{command[0]} gives no answer for {_SECONDS} s: is the scheduler down?") from None
    if done.returncode:
        said = " ".join((done.stderr.strip() or done.stdout.strip() or "no reason given").split())
        raise InputError(f"{command[0]}: {said.removeprefix(command[0] + ': error: ')}")
    return done.stdout
