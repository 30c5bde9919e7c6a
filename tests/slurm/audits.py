"""Audits on a cluster, as tests see them: what was submitted, what the logs say, what the tree holds."""

import json
import re
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from interp.batch_jobs import Job, SubmittedJobs
from interp.paths import REPOSITORY
from interp.records import read_record
from tests.interruption import MADE, hash_tree
from tests.slurm.cluster import Cluster

TINY = "planted_quirks-tiny"


@dataclass(frozen=True)
class ClusterAudit:
    """An experiment below `root`, worked on by jobs of `cluster`."""

    cluster: Cluster
    root: Path
    name: str = TINY

    @property
    def folder(self) -> Path:
        return self.root / self.name

    @property
    def environment(self) -> dict[str, str]:
        return {**self.cluster.environment, "INTERP_ROOT": str(self.root), "INTERP_PYTHON": sys.executable}

    def shell(self, *command: str) -> subprocess.CompletedProcess[str]:
        """A command in the checkout, as a user on the login node gives it."""
        return subprocess.run(
            command, cwd=REPOSITORY, env=self.environment, capture_output=True, text=True, timeout=600
        )

    def submit(self, *arguments: str) -> str:
        """What `submit_overnight.sh` prints."""
        done = self.shell("bash", "slurm/submit_overnight.sh", *arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def sbatch(self, script: str, *options: str, arguments: tuple[str, ...] = ()) -> str:
        """One of slurm/'s files, submitted by hand with smaller jobs; its id."""
        self.logs.mkdir(parents=True, exist_ok=True)
        small = ("--gres=none", "--cpus-per-task=1", "--mem=1G", f"--output={self.logs}/%x-%A_%a.log")
        command = ("sbatch", "--parsable", *small, *options, f"slurm/{script}.sbatch", self.name, *arguments)
        done = self.shell(*command)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def status(self) -> subprocess.CompletedProcess[str]:
        return self.shell(sys.executable, "inference/status.py", "--experiment", self.name)

    @property
    def logs(self) -> Path:
        return self.folder / "jobs" / "logs"

    @property
    def jobs(self) -> dict[str, Job]:
        """The latest of every step."""
        return read_record(SubmittedJobs, self.folder / "jobs" / "submitted.json").latest()

    def wait_for_all(self, timeout: float = 400) -> None:
        for job in self.jobs.values():
            self.cluster.wait(job.id, timeout=timeout)

    def batches_done(self) -> Counter[str]:
        """How often each batch was done, by the lines of all workers' logs."""
        text = "".join(path.read_text() for path in self.logs.glob("*.log"))
        return Counter(re.findall(r"(?:generate|replay): \d+/.*  (\S+ \S+ batch \d+)$", text, re.MULTILINE))

    def tree(self) -> dict[str, str]:
        return hash_tree(self.folder)

    def no_lease_is_left(self) -> bool:
        return not (self.folder / "leases").exists()


def multiply(source: Path, target: Path, copies: int) -> None:
    """An experiment with every organism several times, in batches of two: most of a minute's work of the real kind."""
    shutil.copytree(source, target, ignore=shutil.ignore_patterns(*MADE, "jobs"))
    config = json.loads((target / "config.json").read_text())
    variants = {}
    for name, variant in config["model_variants"].items():
        audited = variant["role"] in ("organism", "sham")
        for copy in range(copies if audited else 1):
            variants[f"{name}-{copy}" if audited else name] = variant
    config.update(model_variants=variants, batch_size=2)
    (target / "config.json").write_text(json.dumps(config))
