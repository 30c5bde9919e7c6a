"""slurm/dev_cluster.sh gives a SLURM that behaves like one, crashes included."""

import subprocess
from pathlib import Path

import pytest

from tests.slurm.cluster import SCRIPT, Cluster

RUNNING = {"RUNNING"}


def script(path: Path, *lines: str) -> str:
    path.write_text("\n".join(("#!/bin/bash", *lines, "")))
    return str(path)


def states(jobs: dict[str, dict[str, str]]) -> list[str]:
    return [jobs[name]["JobState"] for name in sorted(jobs)]


# ---------------------------------------------------------------------------------------------------------------------
# Jobs


def test_an_array_and_the_jobs_that_wait_for_it(cluster: Cluster, tmp_path: Path) -> None:
    """The element that fails stops the same element of the next array, and nothing else."""
    lines = ('echo "$SLURM_ARRAY_TASK_ID" > "$SLURM_ARRAY_TASK_ID.txt"', "(($SLURM_ARRAY_TASK_ID != 2))")
    fails_at_2 = script(tmp_path / "job.sh", *lines)
    first = cluster.sbatch("--array=0-3%2", "--output=/dev/null", fails_at_2, cwd=tmp_path)
    next_ = ("--array=0-3", "--kill-on-invalid-dep=yes", "--output=/dev/null", "--wrap=true")
    second = cluster.sbatch(f"--dependency=aftercorr:{first}", *next_, cwd=tmp_path)
    last = cluster.sbatch(f"--dependency=afterany:{second}", "--output=last.txt", "--wrap=echo last", cwd=tmp_path)
    assert states(cluster.wait(first)) == ["COMPLETED", "COMPLETED", "FAILED", "COMPLETED"]
    assert states(cluster.wait(second)) == ["COMPLETED", "COMPLETED", "CANCELLED", "COMPLETED"]
    assert states(cluster.wait(last)) == ["COMPLETED"]
    assert (tmp_path / "last.txt").read_text() == "last\n"


def test_jobs_at_the_same_time_have_different_gpus(cluster: Cluster, tmp_path: Path) -> None:
    """All eight GPUs at once: each element waits until it has seen the others."""
    waits = "until [[ $(ls -- *.txt | wc -l) -eq 8 ]]; do sleep 0.1; done"
    tells = 'echo "$SLURMD_NODENAME:$CUDA_VISIBLE_DEVICES" > "$SLURM_ARRAY_TASK_ID.txt"'
    job = cluster.sbatch(
        "--array=0-7", "--gres=gpu:1", "--output=/dev/null", script(tmp_path / "job.sh", tells, waits), cwd=tmp_path
    )
    assert set(states(cluster.wait(job))) == {"COMPLETED"}
    told = sorted(path.read_text().strip() for path in tmp_path.glob("*.txt"))
    assert told == [f"{node}:{gpu}" for node in ("n1", "n2") for gpu in range(4)]


def test_an_element_of_an_array_requeues_itself(cluster: Cluster, tmp_path: Path) -> None:
    job = cluster.sbatch(
        "--array=5-6",
        "--requeue",
        "--open-mode=append",
        "--output=%a.txt",
        script(
            tmp_path / "job.sh",
            'echo "restart ${SLURM_RESTART_COUNT:-0}"',
            'if [[ "$SLURM_ARRAY_TASK_ID" == 5 && "${SLURM_RESTART_COUNT:-0}" == 0 ]]; then',
            '    scontrol requeue "${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID}"',
            "    sleep 60",
            "fi",
        ),
        cwd=tmp_path,
    )
    jobs = cluster.wait(job)
    assert [(name, jobs[name]["JobState"], jobs[name]["Restarts"]) for name in sorted(jobs)] == [
        (f"{job}_5", "COMPLETED", "1"),
        (f"{job}_6", "COMPLETED", "0"),
    ]
    lines = (tmp_path / "5.txt").read_text().splitlines()
    assert [line for line in lines if line.startswith("restart")] == ["restart 0", "restart 1"]
    assert (tmp_path / "6.txt").read_text() == "restart 0\n"


def test_a_preempted_job_is_warned_and_runs_again(cluster: Cluster, tmp_path: Path) -> None:
    """In the grace time, it still counts as running: what it asks for then is done."""
    warned = script(
        tmp_path / "job.sh",
        'trap \'scontrol -o show job "$SLURM_JOB_ID" > "warned.txt"; scontrol requeue "$SLURM_JOB_ID"\' USR2',
        'echo > "started${SLURM_RESTART_COUNT:-0}.txt"',
        "[[ -n ${SLURM_RESTART_COUNT:-} ]] || while :; do sleep 0.1; done",
    )
    options = ("--partition=preemptible", "--requeue", "--signal=B:USR2@60", "--time=10", "--output=/dev/null")
    job = cluster.sbatch(*options, warned, cwd=tmp_path)
    cluster.wait_until((tmp_path / "started0.txt").exists, 30, "the job's start")
    urgent = cluster.sbatch("--nodes=2", "--exclusive", "--output=/dev/null", "--wrap=true", cwd=tmp_path)
    assert states(cluster.wait(urgent)) == ["COMPLETED"]
    ended = cluster.wait(job)[job]
    assert (ended["JobState"], ended["Restarts"]) == ("COMPLETED", "1")
    assert "JobState=RUNNING" in (tmp_path / "warned.txt").read_text()
    assert (tmp_path / "started1.txt").exists()


# ---------------------------------------------------------------------------------------------------------------------
# Crashes


def test_after_a_node_crash_two_copies_of_a_job_write(cluster: Cluster, tmp_path: Path) -> None:
    writes = 'for i in {1..80}; do echo "$SLURMD_NODENAME"; sleep 0.1; done >> "copy${SLURM_RESTART_COUNT:-0}.txt"'
    first, second = tmp_path / "copy0.txt", tmp_path / "copy1.txt"
    job = cluster.sbatch("--requeue", "--output=/dev/null", script(tmp_path / "job.sh", writes), cwd=tmp_path)
    cluster.wait_until(first.exists, 30, "the job's start")
    node = cluster.crash_node(job)
    cluster.wait_until(second.exists, 30, "the second copy's start")
    written = len(first.read_text().split())
    assert written < 80, "the first copy was to be still writing"
    assert cluster.jobs(job)[job]["Restarts"] == "1"
    cluster.wait(job)
    assert first.read_text().split() == 80 * [node]
    assert len(second.read_text().split()) == 80 and node not in second.read_text()
    cluster.restore()
    assert cluster.run("sinfo", "--noheader", "--partition=gpu", "--format=%D %T") == "2 idle"


def test_a_crashed_controller_comes_back_with_the_jobs_that_it_saved(cluster: Cluster, tmp_path: Path) -> None:
    held = cluster.sbatch("--hold", "--output=/dev/null", "--wrap=true", cwd=tmp_path)
    saved = cluster.directory / "state" / "job_state"
    before = saved.stat().st_mtime_ns if saved.exists() else 0
    cluster.wait_until(lambda: saved.exists() and saved.stat().st_mtime_ns > before, 30, "slurmctld's saving its state")
    cluster.crash_controller()
    assert cluster.script("status").returncode == 1
    cluster.restore()
    status = cluster.script("status")
    assert status.returncode == 0 and "n[1-2]" in status.stdout and "JobHeldUser" in status.stdout
    cluster.run("scontrol", "release", held)
    assert states(cluster.wait(held)) == ["COMPLETED"]


def test_a_killed_slurmd_is_restored_and_its_job_goes_on(cluster: Cluster, tmp_path: Path) -> None:
    job = cluster.sbatch("--output=/dev/null", "--wrap=sleep 2", cwd=tmp_path)
    node = cluster.wait(job, RUNNING)[job]["NodeList"]
    cluster.crash_daemon(f"slurmd-{node}")
    assert cluster.script("status").returncode == 1
    cluster.restore()
    assert cluster.script("status").returncode == 0
    ended = cluster.wait(job)[job]
    assert (ended["JobState"], ended["Restarts"]) == ("COMPLETED", "0")


def test_a_drained_node_is_taken_back_into_service(cluster: Cluster) -> None:
    """As a restarted slurmctld leaves a node on which it finds a job that it does not know."""
    cluster.run("scontrol", "update", "nodename=n1", "state=drain", "reason=test")
    cluster.restore()
    assert cluster.run("sinfo", "--noheader", "--partition=gpu", "--format=%D %T") == "2 idle"


# ---------------------------------------------------------------------------------------------------------------------
# The script


def test_a_second_start_changes_nothing(cluster: Cluster) -> None:
    before = cluster.processes()
    process = cluster.script("start")
    assert process.returncode == 0 and cluster.processes() == before
    assert f"export SLURM_CONF={cluster.directory}/slurm.conf" in process.stdout.splitlines()


def test_stop_leaves_no_daemon_and_no_job(lone_cluster: Cluster, tmp_path: Path) -> None:
    orphan = script(tmp_path / "job.sh", "setsid sleep 300 &", "touch started", "sleep 300")
    lone_cluster.sbatch("--output=/dev/null", orphan, cwd=tmp_path)
    lone_cluster.wait_until((tmp_path / "started").exists, 30, "the job's start")
    running = " ".join(lone_cluster.processes())
    assert all(
        name in running for name in ("munged.log", "slurmctld.log", "slurmd-n1.log", "slurmd-n2.log", "sleep 300")
    )
    assert lone_cluster.script("stop").returncode == 0
    assert lone_cluster.processes() == []
    assert lone_cluster.directory.exists() and lone_cluster.script("status").returncode == 1
    lone_cluster.purge()
    assert not lone_cluster.directory.exists()


@pytest.mark.parametrize("arguments", [[], ["restart"], ["start", "now"], ["stop", "--all"]])
def test_wrong_usage_shows_the_right_one(arguments: list[str]) -> None:
    process = subprocess.run(["bash", str(SCRIPT), *arguments], capture_output=True, text=True)
    assert process.returncode == 2 and process.stdout == ""
    assert "dev_cluster.sh stop [--purge]" in process.stderr and "SLURM_DEV_PORT" in process.stderr


@pytest.mark.parametrize("directory", ["/tmp/with a space", f"/tmp/{70 * 'x'}"])
def test_a_directory_that_sockets_cannot_be_in_is_refused(directory: str) -> None:
    environment = {"PATH": "/usr/bin:/bin", "SLURM_DEV_DIR": directory}
    process = subprocess.run(["bash", str(SCRIPT), "start"], env=environment, capture_output=True, text=True)
    assert process.returncode == 1 and process.stderr.startswith("error: SLURM_DEV_DIR")
    assert not Path(directory).exists()


def test_a_directory_of_others_is_neither_used_nor_removed(short_path: Path) -> None:
    (short_path / "precious").touch()
    cluster = Cluster(short_path)
    assert cluster.script("stop", "--purge").returncode == 0
    assert (short_path / "precious").exists()


def test_where_it_cannot_be_installed_one_line_says_so(short_path: Path) -> None:
    """With a path of few programs, none of which installs."""
    for name in ("bash", "id", "uname", "realpath"):
        (short_path / name).symlink_to(f"/usr/bin/{name}")
    environment = {
        "PATH": str(short_path),
        "SLURM_DEV_DIR": str(short_path / "cluster"),
        "SLURM_DEV_INSTALL": "extract",
    }
    process = subprocess.run(["/bin/bash", str(SCRIPT), "start"], env=environment, capture_output=True, text=True)
    assert process.returncode == 1
    assert process.stderr == "error: SLURM is not installed, and there is no apt-get to install it with\n"
