"""Jobs that were handed in: submitting, noting down, and what became of them."""

from experiments.concept_injection.cloud_batch.job import BatchJob
from experiments.concept_injection.cloud_batch.service import BatchService
from experiments.concept_injection.destination import Destination
from experiments.concept_injection.paths import SweepPaths
from interp.errors import InputError
from interp.files import write_json
from interp.records import Record, read_record
from interp.stores import open_store
from interp.work import Shard

NOTE = "submitted_batch.json"


class SubmittedBatchJob(Record):
    """A job that was handed in. `files`: of the request, a tuple per task."""

    name: str
    uid: str
    image: str
    machine_type: str
    spot: bool
    store: str
    files: tuple[tuple[str, ...], ...]


class SubmittedBatchJobs(Record):
    """All jobs that were ever handed in for a sweep, the latest last."""

    jobs: tuple[SubmittedBatchJob, ...] = ()


def read_submitted(paths: SweepPaths) -> SubmittedBatchJobs:
    path = paths.folder / NOTE
    return read_record(SubmittedBatchJobs, path) if path.exists() else SubmittedBatchJobs()


def submit(job: BatchJob, paths: SweepPaths, force: bool, service: BatchService | None = None) -> SubmittedBatchJob:
    """Hand a job in and write it down.

    Raises:
        InputError: the destination holds a sweep, and there is no `force`; no credentials; a job of this name is there.
        SettingsChanged: it holds another request's.
        ServiceUnavailable: the store or the service cannot be reached.
    """
    destination = Destination(open_store(job.store), paths)
    if not force and (there := destination.sizes()):
        raise InputError(
            f"{destination.url} is there already ({len(there)} files): give --force to go on with it, or choose "
            "another --experiment-id"
        )
    destination.check(job.request)
    uid = (service or BatchService()).submit(job)
    files = tuple(tuple(Shard(index, job.task_count).of(job.request.files)) for index in range(job.task_count))
    submitted = SubmittedBatchJob(
        name=job.name, uid=uid, image=job.image, machine_type=job.machine_type, spot=job.spot, store=job.store,
        files=files,
    )  # fmt: skip
    jobs = SubmittedBatchJobs(jobs=(*read_submitted(paths).jobs, submitted))
    write_json(paths.folder / NOTE, jobs.model_dump(mode="json"))
    return submitted


def status_lines(submitted: SubmittedBatchJob, paths: SweepPaths, service: BatchService) -> list[str]:
    """What a person wants to know of a job: its state, then each task's, with what the store has of its files."""
    report = service.describe(submitted.name)
    destination = Destination(open_store(submitted.store), paths)
    sizes = destination.sizes()
    lines = [f"{submitted.name}: {report.state}" + (f" ({report.event})" if report.event else "")]
    tasks = {task.index: task for task in report.tasks}
    for index, names in enumerate(submitted.files):
        task = tasks.get(index)
        state = task.state if task else "not begun"
        failed = f", attempts ended with {', '.join(map(str, task.exit_codes))}" if task and task.exit_codes else ""
        stored = sum(sizes.get(paths.records(name).name, 0) for name in names)
        whole = "all" if destination.is_done(names, sizes) else f"{stored} bytes of trials"
        lines.append(f"  task {index}: {' '.join(names)}: {state}{failed}; stored: {whole}")
    return lines
