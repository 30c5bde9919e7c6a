"""A stand-in for batch.googleapis.com: a REST server of its own process that runs each task's container as a command.

It takes what Google's own types take, knows jobs and tasks, starts a task anew as the job's one lifecycle policy says,
each attempt with an empty disk (TMPDIR), and can take a machine away. It does not know quotas, images or GPUs, and
what it accepts Google may still refuse.

    POST /v1/projects/P/locations/R/jobs?job_id=J        GET  /v1/projects/P/locations/R/jobs/J
    GET  …/jobs/J/taskGroups/group0/tasks                POST /preempt?job=J&task=1       SIGKILL; exit code 50001

By hand: `python -m tests.batch_server DISKS COMMAND…`, which prints its address and ends with its standard input.
"""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from google.cloud import batch_v1
from google.protobuf.json_format import ParseError

from interp.paths import REPOSITORY

PREEMPTED = 50001
FORBIDDEN = "forbidden-project"
_JOBS = re.compile(r"/v1/(projects/([^/]+)/locations/[^/]+)/jobs")
_TASKS = re.compile(r"/v1/(projects/.+/jobs/[^/]+)/taskGroups/group0/tasks")


# --- What tests use ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class BatchServer:
    """A running stand-in. `disks/JOB/task-1-attempt-0` is what an attempt had as its disk; it is left as it was."""

    address: str
    disks: Path

    def disk(self, job: str, task: int, attempt: int) -> Path:
        return self.disks / job / f"task-{task}-attempt-{attempt}"

    def preempt(self, job: str, task: int) -> None:
        """Take a task's machine away, now."""
        request = urllib.request.Request(f"{self.address}/preempt?job={job}&task={task}", method="POST")
        urllib.request.urlopen(request, timeout=20).close()

    def job(self, name: str) -> Any:
        """As the service tells it."""
        with urllib.request.urlopen(f"{self.address}/v1/{name}", timeout=20) as answer:
            return json.loads(answer.read())

    def wait(self, name: str, seconds: float = 120.0) -> str:
        """Until a job has ended; its state."""
        deadline = time.monotonic() + seconds
        while (state := self.job(name)["status"]["state"]) not in ("SUCCEEDED", "FAILED"):
            assert time.monotonic() < deadline, f"{name} is {state} for {seconds} s"
            time.sleep(0.05)
        return str(state)


@contextmanager
def running_server(disks: Path, command: Sequence[str], environment: Mapping[str, str]) -> Iterator[BatchServer]:
    """A stand-in whose containers are `command`; with it end the tasks that are still running."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.batch_server", str(disks), *command], cwd=REPOSITORY, env=dict(environment),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        assert address.startswith("http://"), "the stand-in for Batch did not start"
        yield BatchServer(address, disks)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


# --- The server -------------------------------------------------------------------------------------------------------


@dataclass
class Running:
    """A job, its tasks, and the processes that are its machines."""

    job: Any
    disks: Path
    command: Sequence[str]
    tasks: list[Any] = field(default_factory=list)
    processes: dict[int, "subprocess.Popen[bytes]"] = field(default_factory=dict)
    taken_away: set[int] = field(default_factory=set)

    def run(self) -> None:
        """Every task, so many at a time as the job says, then the job's own state."""
        group = self.job.task_groups[0]
        slots = threading.Semaphore(int(group.parallelism or group.task_count))
        name = f"{self.job.name}/taskGroups/group0/tasks"
        self.tasks = [batch_v1.Task(name=f"{name}/{index}") for index in range(group.task_count)]
        _note(self.job.status, "RUNNING")
        threads = [threading.Thread(target=self._run_task, args=(index, slots)) for index in range(group.task_count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        good = all(task.status.state.name == "SUCCEEDED" for task in self.tasks)
        _note(self.job.status, "SUCCEEDED" if good else "FAILED")

    def _run_task(self, index: int, slots: threading.Semaphore) -> None:
        spec, status = self.job.task_groups[0].task_spec, self.tasks[index].status
        with slots:
            for attempt in range(int(spec.max_retry_count) + 1):
                _note(status, "RUNNING")
                code = self._attempt(spec, index, attempt)
                if code == 0:
                    return _note(status, "SUCCEEDED")
                if attempt == spec.max_retry_count or not _is_retried(spec, code):
                    return _note(status, "FAILED", code)
                _note(status, "PENDING", code)
        raise AssertionError("every attempt ends in one of these ways")

    def _attempt(self, spec: Any, index: int, attempt: int) -> int:
        """The exit code that the service would report."""
        disk = self.disks / self.job.name.rpartition("/")[2] / f"task-{index}-attempt-{attempt}"
        disk.mkdir(parents=True)
        environment = {**os.environ, **_variables(spec), "TMPDIR": str(disk), "BATCH_TASK_INDEX": str(index)}
        environment |= {"BATCH_TASK_COUNT": str(len(self.tasks)), "BATCH_TASK_RETRY_ATTEMPT": str(attempt)}
        command = [*self.command, *spec.runnables[0].container.commands]
        process = subprocess.Popen(command, env=environment, stdout=sys.stderr, stdin=subprocess.DEVNULL)
        self.processes[index] = process
        code = process.wait()
        if index in self.taken_away:
            self.taken_away.remove(index)
            return PREEMPTED
        return 128 - code if code < 0 else code

    def take_away(self, index: int) -> None:
        self.taken_away.add(index)
        self.processes[index].kill()


def _variables(spec: Any) -> dict[str, str]:
    """The environment of a task; each secret's value is made of its name."""
    secrets = {name: f"the value of {where}" for name, where in dict(spec.environment.secret_variables).items()}
    return {**dict(spec.environment.variables), **secrets}


def _is_retried(spec: Any, code: int) -> bool:
    (policy,) = spec.lifecycle_policies
    assert policy.action.name == "RETRY_TASK"
    return code in policy.action_condition.exit_codes


def _note(status: Any, state: str, code: int | None = None) -> None:
    """A new state, with an event that says so, as the service writes them."""
    event = batch_v1.StatusEvent(
        type_="STATUS_CHANGED", description=f"state is set to {state}" + (f", exit code {code}" if code else ""),
        event_time=datetime.now(UTC),
    )  # fmt: skip
    if code:
        event.task_execution = batch_v1.TaskExecution(exit_code=code)
    status.status_events.append(event)
    status.state = state


class Handler(BaseHTTPRequestHandler):
    """The routes; `jobs`, `disks` and `program` are the server's."""

    protocol_version = "HTTP/1.1"
    jobs: dict[str, Running]
    disks: Path
    program: Sequence[str]

    def log_message(self, *_: object) -> None:
        """Says nothing."""

    def do_POST(self) -> None:
        body, url = self.rfile.read(int(self.headers["Content-Length"] or 0)), urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        if url.path == "/preempt":
            (running,) = (each for name, each in self.jobs.items() if name.endswith(f"/jobs/{query['job']}"))
            running.take_away(int(query["task"]))
            return self._answer(200, {})
        if not (match := _JOBS.fullmatch(url.path)):
            return self._refuse(404, "NOT_FOUND", url.path)
        if match[2] == FORBIDDEN:
            return self._refuse(403, "PERMISSION_DENIED", "batch.jobs.create denied")
        return self._create(f"{match[1]}/jobs/{query.get('job_id') or query['jobId']}", body)

    def _create(self, name: str, body: bytes) -> None:
        try:
            job = batch_v1.Job.from_json(body)
        except ParseError as error:
            return self._refuse(400, "INVALID_ARGUMENT", str(error))
        if name in self.jobs:
            return self._refuse(409, "ALREADY_EXISTS", name)
        job.name, job.uid = name, f"uid-{len(self.jobs)}"
        _note(job.status, "QUEUED")
        self.jobs[name] = Running(job, self.disks, self.program)
        self._answer(200, _as_json(job))
        return threading.Thread(target=self.jobs[name].run, daemon=True).start()

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        if (match := _TASKS.fullmatch(path)) and match[1] in self.jobs:
            return self._answer(200, {"tasks": [_as_json(task) for task in self.jobs[match[1]].tasks]})
        if (name := path.removeprefix("/v1/")) in self.jobs:
            return self._answer(200, _as_json(self.jobs[name].job))
        return self._refuse(404, "NOT_FOUND", f"Job {name} not found")

    def _refuse(self, code: int, status: str, message: str) -> None:
        self._answer(code, {"error": {"code": code, "status": status, "message": message}})

    def _answer(self, code: int, value: object) -> None:
        content = json.dumps(value).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


def _as_json(message: Any) -> Any:
    return json.loads(type(message).to_json(message, use_integers_for_enums=False))


def main(disks: str, *command: str) -> None:
    Handler.jobs, Handler.disks, Handler.program = {}, Path(disks), command
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(f"http://127.0.0.1:{server.server_address[1]}", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main(*sys.argv[1:])
