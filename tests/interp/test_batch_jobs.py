"""What became of jobs, from the queue and their logs; a scheduler that is not there, refuses or is silent."""

import os
from pathlib import Path

import pytest

from interp import batch_jobs
from interp.batch_jobs import Job, Outcome, Queued, note_submitted, outcomes, read_submitted
from interp.errors import InputError

JOB = Job(
    step="phase1", name="audit-phase1", id="12", arguments=("audit",), elements=2, waits_for="",
    log="logs/phase1-%A_%a.log",
)
BEGIN = "== begin 12_0 on n1, restart 0, 2026-11-21T06:00:00: inference/generate_responses.py\n"
END = "== end 12_0 with status {}, 2026-11-21T06:10:00\n"


def outcome(folder: Path, log: str, *queue: Queued) -> Outcome:
    """Of element 0, whose log is this."""
    path = folder / "logs" / "phase1-12_0.log"
    path.parent.mkdir(exist_ok=True)
    path.write_text(log)
    return outcomes(JOB, folder, queue)[0]


@pytest.mark.parametrize(
    ("log", "state", "why"),
    [
        (BEGIN + "06:01:00 generate: 2/4 responses\n" + END.format(0), "done", ""),
        (BEGIN + "error: the disk is full\nerror: no room on x\n" + END.format(4), "failed", "no room on x"),
        (BEGIN + "Traceback (most recent call last):\n  x\nKeyError: 'y'\n" + END.format(1), "failed", "KeyError: 'y'"),
        (BEGIN + "something else\n" + END.format(127), "failed", "exit status 127"),
        (BEGIN + "error: stopped\n" + END.format(75) + BEGIN + END.format(0), "done", ""),
        (BEGIN + "error: stopped\n" + END.format(75) + BEGIN + "06:01:00 loading\n", "lost", "ended without a word"),
        (BEGIN + "a word like Error in a line\n" + END.format(3), "failed", "exit status 3"),
    ],
)
def test_an_element_that_left_the_queue_is_known_by_its_log(tmp_path: Path, log: str, state: str, why: str) -> None:
    found = outcome(tmp_path, log)
    assert found.state == state and found.why.startswith(why)


def test_without_queue_and_log_it_is_forgotten(tmp_path: Path) -> None:
    assert [each.state for each in outcomes(JOB, tmp_path, [])] == ["forgotten", "forgotten"]


@pytest.mark.parametrize(
    ("scheduler_state", "reason", "state"),
    [
        ("RUNNING", "None", "running"),
        ("COMPLETING", "None", "running"),
        ("PENDING", "Dependency", "waiting"),
        ("PENDING", "BeginTime", "waiting"),
        ("PENDING", "JobHeldUser", "held"),
        ("PENDING", "launch failed requeued held", "held"),
        ("PENDING", "DependencyNeverSatisfied", "held"),
    ],
)
def test_an_element_in_the_queue_is_what_the_scheduler_says(
    tmp_path: Path, scheduler_state: str, reason: str, state: str
) -> None:
    queued = Queued("12", 0, scheduler_state, reason, "audit-phase1")
    assert outcome(tmp_path, BEGIN, queued).state == state


def test_a_number_that_was_given_out_again_is_another_job(tmp_path: Path) -> None:
    other = Queued("12", 0, "RUNNING", "None", "somebody-else's")
    assert outcomes(JOB, tmp_path, [other])[0].state == "forgotten"


def test_what_was_submitted_is_written_down_the_latest_last(tmp_path: Path) -> None:
    assert read_submitted(tmp_path).jobs == ()
    later = JOB.model_copy(update={"id": "13"})
    note_submitted(tmp_path, JOB)
    note_submitted(tmp_path, later)
    assert read_submitted(tmp_path).jobs == (JOB, later)
    assert read_submitted(tmp_path).latest() == {"phase1": later}
    other = JOB.model_copy(update={"id": "14", "arguments": ("audit", "--keep", "pooled")})
    note_submitted(tmp_path, other)
    assert read_submitted(tmp_path).last("phase1", ["audit"]) == later
    assert read_submitted(tmp_path).last("phase1", ["audit", "--keep", "raw"]) is None


def program(folder: Path, name: str, body: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)


def test_without_a_scheduler_it_says_where_to_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match=r"^there is no squeue here: run this on a cluster's login node$"):
        batch_jobs.read_queue()


def test_a_refusal_is_one_line_in_the_schedulers_words(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program(tmp_path, "sbatch", "echo 'sbatch: error: invalid partition specified: gpus\n  (try again)' >&2; exit 1")
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    with pytest.raises(InputError, match=r"^sbatch: invalid partition specified: gpus \(try again\)$"):
        batch_jobs.submit(Path("x.sbatch"), [], [])


def test_a_silent_scheduler_is_not_waited_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program(tmp_path, "squeue", "exec sleep 20")
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(batch_jobs, "_SECONDS", 0.2)
    with pytest.raises(InputError, match=r"squeue gives no answer for 0\.2 s: is the scheduler down\?"):
        batch_jobs.read_queue()


def test_nothing_to_cancel_asks_nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    batch_jobs.cancel([])
