"""Google Cloud Batch itself, through its own client: handing a job in, and what became of its tasks."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from experiments.concept_injection.cloud_batch.job import BatchJob
from interp.errors import InputError, ServiceUnavailable

EMULATOR = "BATCH_EMULATOR_HOST"
"""Names another server, `http://host:port`, which is sent no credentials."""
_SECONDS = 60.0
_CREDENTIALS = "run `gcloud auth application-default login`, or set GOOGLE_APPLICATION_CREDENTIALS to a key file"


@dataclass(frozen=True)
class TaskReport:
    """`exit_codes`: of the attempts that failed, the last one last; `event`: what the service last said of it."""

    index: int
    state: str
    exit_codes: tuple[int, ...]
    event: str


@dataclass(frozen=True)
class JobReport:
    """A job's state by the service's own word (QUEUED, SCHEDULED, RUNNING, SUCCEEDED, FAILED), and its tasks."""

    state: str
    event: str
    tasks: tuple[TaskReport, ...]


class BatchService:
    """The client, and its errors as lines that say what to do.

    Raises:
        InputError: there are no credentials.
    """

    def __init__(self) -> None:
        self._client = _open_client()

    def submit(self, job: BatchJob) -> str:
        """Hand a job in; the service's own id of it.

        Raises:
            InputError: a job of this name is there, or the service finds it wrong.
            ServiceUnavailable: it refuses, or cannot be reached.
        """
        from google.cloud import batch_v1

        body = batch_v1.Job.from_json(job.as_json())
        with _explained(f"submitting {job.job_id}"):
            created = self._client.create_job(parent=job.parent, job=body, job_id=job.job_id, timeout=_SECONDS)
        return str(created.uid)

    def describe(self, name: str) -> JobReport:
        """What became of a job (`projects/…/jobs/…`)."""
        with _explained(f"asking for {name}"):
            job = self._client.get_job(name=name, timeout=_SECONDS)
            tasks = [*self._client.list_tasks(parent=f"{name}/taskGroups/group0", timeout=_SECONDS)]
        reports = sorted((_task_report(task) for task in tasks), key=lambda report: report.index)
        return JobReport(job.status.state.name, _last_event(job.status), tuple(reports))


def _open_client() -> Any:
    from google.auth.credentials import AnonymousCredentials
    from google.auth.exceptions import GoogleAuthError
    from google.cloud.batch_v1 import BatchServiceClient
    from google.cloud.batch_v1.services.batch_service.transports import BatchServiceRestTransport

    scheme, _, host = os.environ.get(EMULATOR, "").rpartition("://")
    if host:
        transport = BatchServiceRestTransport(
            host=host, url_scheme=scheme or "http", credentials=AnonymousCredentials()
        )
        return BatchServiceClient(transport=transport)
    try:
        return BatchServiceClient(transport="rest")
    except GoogleAuthError:
        raise InputError(f"no Google credentials were found: {_CREDENTIALS}") from None


@contextmanager
def _explained(doing: str) -> Iterator[None]:
    import requests
    from google.api_core.exceptions import AlreadyExists, Conflict, GoogleAPICallError, RetryError
    from google.auth.exceptions import GoogleAuthError

    try:
        yield
    except (AlreadyExists, Conflict):
        raise InputError(
            f"{doing}: there is a job of this name: look at it with --status, or, if no answer came when it was "
            "submitted, with `gcloud batch jobs describe`; or give another --job-id"
        ) from None
    except GoogleAPICallError as error:
        raise _error(doing, int(error.code or 0), str(error.message)) from None
    except GoogleAuthError as error:
        raise InputError(f"{doing}: signing in failed ({type(error).__name__}); {_CREDENTIALS}") from None
    except (requests.RequestException, RetryError) as error:
        raise ServiceUnavailable(
            f"{doing}: Google Cloud Batch cannot be reached ({type(error).__name__}); check the network, then run the "
            "same command again"
        ) from None


def _error(doing: str, status: int, message: str) -> Exception:
    first = " ".join(message.split())[:300]
    if status in (401, 403):
        return ServiceUnavailable(
            f"{doing}: not allowed (HTTP {status}): {first}; it takes roles/batch.jobsEditor on the project and "
            "roles/iam.serviceAccountUser on the service account, and the API must be enabled"
        )
    if status in (400, 404):
        return InputError(f"{doing}: HTTP {status}: {first}; check --project, --region and the job")
    return ServiceUnavailable(f"{doing}: HTTP {status}: {first}; run the same command again later")


def _task_report(task: Any) -> TaskReport:
    events = _in_order(task.status)
    codes = [int(event.task_execution.exit_code) for event in events if event.task_execution.exit_code]
    index = int(str(task.name).rpartition("/")[2])
    return TaskReport(index, task.status.state.name, tuple(codes), _last_event(task.status))


def _last_event(status: Any) -> str:
    events = _in_order(status)
    return " ".join(str(events[-1].description).split()) if events else ""


def _in_order(status: Any) -> list[Any]:
    return sorted(
        status.status_events, key=lambda event: event.event_time.timestamp() if event.event_time else 0.0
    )
