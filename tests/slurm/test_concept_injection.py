"""A sweep as jobs: elements of one array share its files, and it ends with the lines of a run on one machine."""

import json
import sys
from pathlib import Path

import pytest

from experiments.concept_injection.paths import SweepPaths
from experiments.concept_injection.request import SweepRequest
from interp.jsonl import read_lines
from interp.records import Sampling
from tests.slurm.audits import ClusterAudit
from tests.slurm.cluster import Cluster
from tests.tiny_models import save_model

pytestmark = pytest.mark.slow


@pytest.fixture
def request_file(tmp_path: Path) -> Path:
    request = SweepRequest(
        experiment_id="jobs", model="tiny", source=str(save_model(tmp_path / "model", "llama")), dtype="float32",
        threads=1, concepts=("fear", "ocean", "dust"), layers=(1, 2), strengths=(4.0,), trials=2, control_trials=4,
        yes_bias=False, batch_size=4, sampling=Sampling(max_new_tokens=4, temperature=1.0),
    )  # fmt: skip
    path = tmp_path / "request.json"
    path.write_text(request.model_dump_json())
    return path


def lines_of(folder: Path) -> dict[str, list[dict[str, object]]]:
    """Every line of every file but its time, and each file's lines once."""
    return {path.name: [{**row, "timestamp": ""} for row in read_lines(path)] for path in folder.glob("*.jsonl")}


def test_an_array_shares_the_files_of_a_sweep(cluster: Cluster, request_file: Path, tmp_path: Path) -> None:
    shared, alone = tmp_path / "shared root", tmp_path / "alone"
    jobs = ClusterAudit(cluster, shared, name="--request")
    job = jobs.sbatch("concept_injection", "--array=0-1", arguments=(str(request_file), "--device", "cpu"))
    cluster.wait(job, timeout=300)
    states = {fields["JobState"] for fields in cluster.jobs(job).values()}
    logs = "".join(path.read_text() for path in jobs.logs.glob("*.log"))
    assert states == {"COMPLETED"}, logs
    command = [sys.executable, "-m", "experiments.concept_injection.sweep", "--local", "--request", str(request_file)]
    done = jobs.shell(*command, "--device", "cpu", "--root", str(alone))
    assert done.returncode == 0, done.stderr
    request = SweepRequest.model_validate(json.loads(request_file.read_text()))
    found = lines_of(SweepPaths.of(shared, request).folder)
    assert found == lines_of(SweepPaths.of(alone, request).folder)
    assert len(found) == 8 and len(found["fear.jsonl"]) == 3 * 2 * 2
    assert not SweepPaths.of(shared, request).leases.exists()
