"""An array of workers that are killed, pre-empted, warned, cancelled, or run on beside their own successors."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from inference import generate_responses
from tests.interruption import differences, hash_tree
from tests.slurm.audits import TINY, ClusterAudit, multiply
from tests.slurm.cluster import Cluster

pytestmark = pytest.mark.slow

MANY = "many"


@pytest.fixture(scope="module")
def many(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> ClusterAudit:
    """The tiny default with its organisms four times, in batches of two. Shared: copy it before working on it."""
    audit = ClusterAudit(cluster, tmp_path_factory.mktemp("many"), MANY)
    built = audit.shell("bash", "-c", '"$INTERP_PYTHON" -m experiments.planted_quirks.build --preset tiny')
    assert built.returncode == 0, built.stderr
    multiply(audit.root / TINY, audit.folder, copies=4)
    return audit


@pytest.fixture(scope="module")
def expected(many: ClusterAudit, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The tree that one undisturbed worker makes in phase 1."""
    root = tmp_path_factory.mktemp("undisturbed")
    shutil.copytree(many.folder, root / MANY)
    generate_responses.main(["--experiment", MANY, "--root", str(root), "--response-only", "--skip-existing"])
    return hash_tree(root / MANY)


@pytest.fixture
def audit(many: ClusterAudit, tmp_path: Path) -> Iterator[ClusterAudit]:
    shutil.copytree(many.folder, tmp_path / MANY)
    yield ClusterAudit(many.cluster, tmp_path, MANY)
    many.cluster.restore()


def phase1(audit: ClusterAudit, *options: str) -> str:
    return audit.sbatch("phase1", *options, arguments=("--lease-seconds", "20"))


def wait_until_at_work(audit: ClusterAudit, job: str, elements: int) -> None:
    """Until every element has a batch behind it."""

    def all_are() -> bool:
        logs = [audit.logs / f"phase1-{job}_{index}.log" for index in range(elements)]
        return all(log.exists() and " batch " in log.read_text() for log in logs)

    audit.cluster.wait_until(all_are, 180, "all elements at work")


def log_of(audit: ClusterAudit, job: str, index: int) -> str:
    """An element's log; empty before it begins."""
    log = audit.logs / f"phase1-{job}_{index}.log"
    return log.read_text() if log.exists() else ""


def assert_all_is_done_once(audit: ClusterAudit, expected: dict[str, str]) -> None:
    assert differences(audit.tree(), expected) == []
    assert set(audit.batches_done().values()) == {1}
    assert audit.no_lease_is_left()


def preempt_one(audit: ClusterAudit, job: str) -> int:
    """Take one element's place by a job that comes first; the element's index."""
    wrap = ("--nodes=1", "--cpus-per-task=4", "--output=/dev/null", "--wrap=sleep 8")
    audit.cluster.sbatch("--partition=gpu", *wrap, cwd=audit.root)

    def warned() -> list[int]:
        return [index for index in range(4) if f"== USR2 for {job}_{index}" in log_of(audit, job, index)]

    audit.cluster.wait_until(lambda: bool(warned()), 60, "a pre-emption")
    return warned()[0]


def test_one_killed_one_preempted_one_warned_and_all_is_done_once(
    audit: ClusterAudit, expected: dict[str, str]
) -> None:
    """Four elements fill the cluster; the fourth is left alone."""
    job = phase1(audit, "--array=0-3", "--partition=preemptible", "--cpus-per-task=4")
    wait_until_at_work(audit, job, 4)
    preempted = preempt_one(audit, job)
    killed, warned, _ = (index for index in range(4) if index != preempted)
    audit.cluster.run("scancel", "--signal=KILL", "--batch", f"{job}_{killed}")
    audit.cluster.run("scancel", "--signal=USR2", "--batch", f"{job}_{warned}")
    jobs = audit.cluster.wait(job, timeout=400)
    states = {index: jobs[f"{job}_{index}"]["JobState"] for index in range(4)}
    assert states == {index: "FAILED" if index == killed else "COMPLETED" for index in range(4)}
    for index in (preempted, warned):
        assert jobs[f"{job}_{index}"]["Restarts"] == "1"
        assert "error: stopped by SIGUSR2 with " in log_of(audit, job, index)
        assert f"== requeueing {job}_{index}" in log_of(audit, job, index)
    assert_all_is_done_once(audit, expected)


def test_a_node_is_lost_and_its_job_runs_twice_at_once(audit: ClusterAudit, expected: dict[str, str]) -> None:
    """SLURM requeues the job elsewhere while the old copy, out of its sight, runs on: one more worker, no harm."""
    job = phase1(audit, "--array=0-0")
    wait_until_at_work(audit, job, 1)
    lost = audit.cluster.crash_node(f"{job}_0")
    audit.cluster.wait_until(lambda: log_of(audit, job, 0).count("== begin ") == 2, 180, "the second copy")
    fields = audit.cluster.wait(job, timeout=400)[f"{job}_0"]
    assert fields["JobState"] == "COMPLETED" and fields["Restarts"] == "1" and fields["NodeList"] != lost
    audit.cluster.wait_until(lambda: log_of(audit, job, 0).count("== end ") == 2, 180, "both copies' end")
    assert_all_is_done_once(audit, expected)
    assert re.findall(r"== end \S+ with status (\d+)", log_of(audit, job, 0)) == ["0", "0"]


def test_a_cancelled_element_stays_cancelled_and_the_others_do_its_work(
    audit: ClusterAudit, expected: dict[str, str]
) -> None:
    job = phase1(audit, "--array=0-2")
    wait_until_at_work(audit, job, 3)
    audit.cluster.run("scancel", f"{job}_0")
    jobs = audit.cluster.wait(job, timeout=400)
    assert [jobs[f"{job}_{index}"]["JobState"] for index in range(3)] == ["CANCELLED", "COMPLETED", "COMPLETED"]
    assert jobs[f"{job}_0"]["Restarts"] == "0"
    assert "== requeueing" not in log_of(audit, job, 0)
    assert_all_is_done_once(audit, expected)


def test_an_element_is_requeued_so_often_and_no_more(audit: ClusterAudit) -> None:
    audit.cluster.environment["INTERP_MAX_REQUEUES"] = "0"
    try:
        job = phase1(audit, "--array=0-0")
    finally:
        del audit.cluster.environment["INTERP_MAX_REQUEUES"]
    wait_until_at_work(audit, job, 1)
    audit.cluster.run("scancel", "--signal=USR2", "--batch", f"{job}_0")
    jobs = audit.cluster.wait(job)
    assert jobs[f"{job}_0"]["JobState"] == "FAILED" and jobs[f"{job}_0"]["ExitCode"] == "75:0"
    assert f"error: {job}_0 was requeued 0 times and is not done" in log_of(audit, job, 0)


def test_a_time_limit_met_for_real(audit: ClusterAudit, expected: dict[str, str]) -> None:
    """SLURM's own clock: the warning comes on a grid of 30 s, up to a minute early; the element goes on afterwards."""
    job = phase1(audit, "--array=0-0", "--time=1", "--signal=B:USR2@30")
    audit.cluster.wait_until(lambda: "== requeueing" in log_of(audit, job, 0), 120, "the warning")
    audit.cluster.run("scontrol", "update", f"jobid={job}_0", "timelimit=30")
    jobs = audit.cluster.wait(job, timeout=400)
    log = log_of(audit, job, 0)
    assert jobs[f"{job}_0"]["JobState"] == "COMPLETED" and jobs[f"{job}_0"]["Restarts"] == "1"
    assert log.count("== USR2 for") == log.count("== requeueing") == 1
    assert "DUE TO TIME LIMIT" not in log
    assert_all_is_done_once(audit, expected)
