"""A real SLURM cluster on this machine (slurm/dev_cluster.sh), as tests use it: jobs, and crashes."""

import os
import re
import shlex
import signal
import subprocess
import time
from collections.abc import Callable, Collection
from pathlib import Path

from interp.paths import REPOSITORY

SCRIPT = REPOSITORY / "slurm" / "dev_cluster.sh"
DONE = frozenset({"COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "PREEMPTED", "BOOT_FAIL", "DEADLINE"})

# What a job or another cluster may have left in the environment; how to install SLURM is the same for all clusters.
INHERITED = re.compile(r"SLURM(?!_DEV_(INSTALL|PREFIX)$)|SBATCH|SRUN|SQUEUE|SCANCEL|SINFO")

Job = dict[str, str]  # the fields of `scontrol show job`, as text


class Cluster:
    """The cluster in `directory`; `settings` are SLURM_DEV_* variables. `environment` is for processes that use it."""

    def __init__(self, directory: Path, **settings: int) -> None:
        outer = {name: value for name, value in os.environ.items() if not INHERITED.match(name)}
        own = {f"SLURM_DEV_{name.upper()}": str(value) for name, value in settings.items()}
        self.directory = directory
        self.environment = {**outer, **own, "SLURM_DEV_DIR": str(directory)}

    # -----------------------------------------------------------------------------------------------------------------
    # The cluster

    def script(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """`dev_cluster.sh` with these arguments."""
        command = ["bash", str(SCRIPT), *arguments]
        return subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=300)

    def start(self) -> None:
        """Start it, or what is missing of it; RuntimeError with the script's own reason where that is impossible."""
        process = self.script("start")
        if process.returncode:
            raise RuntimeError(_last_error(process.stderr))
        shell = ["bash", "-c", 'eval "$1" && env -0', "bash", process.stdout]
        exported = subprocess.run(shell, env=self.environment, capture_output=True, text=True, check=True).stdout
        self.environment = dict(line.split("=", 1) for line in exported.split("\0") if line)

    def restore(self) -> None:
        """Start the daemons that were killed, and take their nodes back into service."""
        self.start()

    def purge(self) -> None:
        """Kill every job and daemon, and remove the directory."""
        process = self.script("stop", "--purge")
        assert process.returncode == 0, process.stderr

    # -----------------------------------------------------------------------------------------------------------------
    # Jobs

    def run(self, *command: str, cwd: Path | None = None) -> str:
        """What a command prints that must succeed."""
        process = subprocess.run(command, env=self.environment, cwd=cwd, capture_output=True, text=True, timeout=60)
        assert process.returncode == 0, f"{shlex.join(command)}: {process.returncode}\n{process.stdout}{process.stderr}"
        return process.stdout.strip()

    def sbatch(self, *arguments: str, cwd: Path) -> str:
        """The id of a job, submitted from `cwd`."""
        return self.run("sbatch", "--parsable", *arguments, cwd=cwd)

    def jobs(self, job: str) -> dict[str, Job]:
        """A job's fields; of an array, those of every element. The keys are "12", or "12_3" and "12_[4-7]"."""
        lines = self.run("scontrol", "-o", "show", "job", job).splitlines()
        return {_name(fields): fields for fields in (dict(re.findall(r"(\w+)=(\S*)", line)) for line in lines)}

    def wait(self, job: str, states: Collection[str] = DONE, timeout: float = 180) -> dict[str, Job]:
        """The job's fields, once every element is in one of the states."""

        def is_so() -> bool:
            return all(fields["JobState"] in states for fields in self.jobs(job).values())

        self.wait_until(is_so, timeout, lambda: f"job {job} is not {' or '.join(sorted(states))}: {self._states(job)}")
        return self.jobs(job)

    def wait_until(self, condition: Callable[[], bool], timeout: float, what: str | Callable[[], str]) -> None:
        """Return once the condition holds; after `timeout` seconds, fail and say what was waited for."""
        end = time.monotonic() + timeout
        while not condition():
            if time.monotonic() > end:
                raise AssertionError(f"after {timeout} s: {what if isinstance(what, str) else what()}")
            time.sleep(0.1)

    def _states(self, job: str) -> dict[str, str]:
        return {name: f"{fields['JobState']} ({fields['Reason']})" for name, fields in self.jobs(job).items()}

    # -----------------------------------------------------------------------------------------------------------------
    # Crashes

    def crash_node(self, job: str) -> str:
        """The node of a running job, lost to SLURM: its daemons are killed, and the job is requeued at once.

        The job's own processes go on, as they do on a node that only lost its network. They are killed with the
        cluster, or when they end.
        """
        node = self.run("squeue", "--noheader", "--jobs", job, "--format", "%N")
        log = self.directory / "log" / f"slurmd-{node}.log"
        killed = [process for process in _processes("slurmd", "slurmstepd") if _has_open(process, log)]
        assert len(killed) > 1, f"job {job} does not run on node {node}"
        self._kill(killed)
        self.run("scontrol", "update", f"nodename={node}", "state=down", "reason=crash")
        return node

    def crash_controller(self) -> None:
        """Kill slurmctld. It forgets the last seconds: jobs that were just submitted, starts and ends of jobs."""
        self.crash_daemon("slurmctld")

    def crash_daemon(self, name: str) -> None:
        """Kill only this: slurmctld, or a node's slurmd ("slurmd-n1"), whose jobs then go on as if nothing was."""
        log = self.directory / "log" / f"{name}.log"
        self._kill([process for process in _processes(name.split("-")[0]) if _has_open(process, log)])

    def _kill(self, processes: list[Path]) -> None:
        for process in processes:
            os.kill(int(process.name), signal.SIGKILL)
        # A zombie counts as dead: who adopts it may take long to notice.
        self.wait_until(lambda: not any(map(_is_alive, processes)), 10, "the end of killed daemons")

    def processes(self) -> list[str]:
        """The command lines of the daemons of this cluster and of its jobs' processes."""
        marks = (f"{self.directory}/log/".encode(), f"SLURM_CONF={self.directory}/slurm.conf".encode())
        daemons = [process for process in _processes() if marks[0] in _read(process / "cmdline")]
        jobs = [process for process in _processes() if b"SLURMD_NODENAME=" in _read(process / "environ")]
        ours = daemons + [process for process in jobs if marks[1] in _read(process / "environ")]
        return [_read(process / "cmdline").replace(b"\0", b" ").decode() for process in ours]


def _name(fields: Job) -> str:
    return f"{fields['ArrayJobId']}_{fields['ArrayTaskId']}" if "ArrayJobId" in fields else fields["JobId"]


def _last_error(said: str) -> str:
    return next((line for line in reversed(said.splitlines()) if line.startswith("error: ")), said[-2000:])


def _processes(*names: str) -> list[Path]:
    """The /proc folders of the living processes, of these names if any are given (the first 15 characters)."""
    every = [path for path in Path("/proc").iterdir() if path.name.isdigit() and _is_alive(path)]
    return [path for path in every if not names or _read(path / "comm").decode().strip().removesuffix("-wlm") in names]


def _is_alive(process: Path) -> bool:
    """Whether it exists and is no zombie: those have no command line."""
    return bool(_read(process / "cmdline"))


def _has_open(process: Path, file: Path) -> bool:
    try:
        return any(link.readlink() == file for link in (process / "fd").iterdir())
    except OSError:  # it has just ended, or is not ours
        return False


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError:  # it has just ended, or is not ours
        return b""
