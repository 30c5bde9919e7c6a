"""The whole audit through submit_overnight.sh: the tree of `bash run_overnight.sh`, resubmissions, failures."""

import shutil
from pathlib import Path

import pytest

from tests.interruption import differences
from tests.slurm.audits import ClusterAudit
from tests.slurm.cluster import Cluster

pytestmark = pytest.mark.slow

PRESET = ("--preset", "tiny")


@pytest.fixture(scope="module")
def reference(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> ClusterAudit:
    """What `bash run_overnight.sh` makes of the tiny default. Shared: leave it as it is."""
    audit = ClusterAudit(cluster, tmp_path_factory.mktemp("run overnight"))
    done = audit.shell("bash", "run_overnight.sh", *PRESET)
    assert done.returncode == 0, done.stderr
    return audit


@pytest.fixture(scope="module")
def chain(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> ClusterAudit:
    """What one submission makes of it, in a folder whose name has spaces and a percent sign."""
    audit = ClusterAudit(cluster, tmp_path_factory.mktemp("100% on a cluster"))
    printed = audit.submit(*PRESET, "--width", "2")
    assert [line.split()[0] for line in printed.splitlines() if " job " in line] == [
        "build", "vectors", "phase1", "phase2", "phase3", "analysis",
    ]  # fmt: skip
    audit.wait_for_all()
    return audit


@pytest.fixture
def built(reference: ClusterAudit, tmp_path: Path) -> ClusterAudit:
    """A built experiment, nothing audited."""
    ignored = shutil.ignore_patterns("vectors", "inference", "analysis", "jobs")
    shutil.copytree(reference.folder, tmp_path / reference.name, ignore=ignored)
    return ClusterAudit(reference.cluster, tmp_path)


def test_one_submission_makes_the_tree_of_run_overnight(chain: ClusterAudit, reference: ClusterAudit) -> None:
    assert len(reference.tree()) > 500
    assert differences(chain.tree(), reference.tree()) == []
    assert chain.no_lease_is_left()
    states = {step: set(map_states(chain, job.id)) for step, job in chain.jobs.items()}
    assert states == {step: {"COMPLETED"} for step in chain.jobs}
    status = chain.status()
    assert status.returncode == 0 and "all done" in status.stdout
    assert "phase1    job" in status.stdout and "2 done" in status.stdout


def map_states(audit: ClusterAudit, job: str) -> list[str]:
    return [fields["JobState"] for fields in audit.cluster.jobs(job).values()]


def test_every_element_has_a_log_with_a_line_a_batch_and_no_bar(chain: ClusterAudit) -> None:
    logs = sorted(chain.logs.glob("phase1-*.log"))
    assert len(logs) == 2
    assert all("\r" not in log.read_text() and "%|" not in log.read_text() for log in chain.logs.iterdir())
    assert sum(chain.batches_done().values()) == len(chain.batches_done()) * 2, "each once in phase 1 and in phase 2"
    line = next(line for line in "".join(log.read_text() for log in logs).splitlines() if " batch " in line)
    assert " responses, " in line and " left, " in line and "/s, ETA " in line


def test_a_finished_audit_submits_nothing(chain: ClusterAudit) -> None:
    before = chain.jobs
    assert "nothing is left to do, nothing is submitted" in chain.submit(*PRESET)
    assert "nothing is left to do, nothing is submitted" in chain.submit(chain.name)
    assert chain.jobs == before


def test_of_a_half_finished_audit_only_what_is_left_is_submitted(
    chain: ClusterAudit, reference: ClusterAudit, tmp_path: Path
) -> None:
    shutil.copytree(chain.folder, tmp_path / chain.name, copy_function=shutil.copy2)
    half = ClusterAudit(chain.cluster, tmp_path)
    author = sorted((half.folder / "inference").iterdir())[0].name
    shutil.rmtree(half.folder / "inference" / author / "activations" / "discovery" / "instruct")
    for table in (half.folder / "inference" / author / "projections" / "discovery").glob("instruct*"):
        table.unlink()
    printed = half.submit(half.name, "--dry-run")
    assert [line.split("job-name=")[1].split()[0] for line in printed.splitlines() if "--job-name" in line] == [
        f"{half.name}-{step}" for step in ("phase2", "phase3", "analysis")
    ]
    printed = half.submit(half.name)
    assert "  phase1 " not in printed.split("ready")[1] and "  vectors " not in printed.split("ready")[1]
    half.wait_for_all()
    assert half.status().returncode == 0
    assert differences(half.tree(), reference.tree()) == []


def test_a_second_submission_keeps_the_jobs_that_wait_or_run(built: ClusterAudit) -> None:
    built.submit(built.name)
    before = built.jobs
    printed = built.submit(built.name)
    assert printed.count("; kept") >= 4 and " after " not in printed
    assert built.jobs == before
    built.cluster.run("scancel", *(job.id for job in before.values()))
    built.wait_for_all()


def test_static_shares_follow_element_by_element(built: ClusterAudit, reference: ClusterAudit) -> None:
    built.submit(built.name, "--static", "--width", "2")
    assert built.jobs["phase2"].waits_for == f"aftercorr:{built.jobs['phase1'].id}"
    built.wait_for_all()
    assert differences(built.tree(), reference.tree()) == []
    assert set(built.batches_done().values()) == {2}


def test_a_phase_that_fails_for_good_ends_its_dependants_and_is_named(built: ClusterAudit) -> None:
    """The base's weights are cut short: preflight, which reads configs, cannot know."""
    weights = built.folder / "models" / "base" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:5000])
    built.submit(built.name, "--width", "2")
    built.wait_for_all()
    status = built.status()
    assert status.returncode == 1
    failed = next(line for line in status.stdout.splitlines() if "phase1-" in line)
    assert "failed: cannot load" in failed and ".log" in failed
    assert "phase2    job" in status.stdout and "finish phase 1" in status.stdout
    assert not built.cluster.run("squeue", "--noheader"), "no job waits for ever"


def test_a_build_that_fails_takes_its_dependants_with_it(cluster: Cluster, tmp_path: Path) -> None:
    audit = ClusterAudit(cluster, tmp_path)
    (tmp_path / audit.name).mkdir()
    (tmp_path / audit.name / "prompts").write_text("a file where a folder should be")
    audit.submit(*PRESET)
    audit.wait_for_all()
    assert set(map_states(audit, audit.jobs["build"].id)) == {"FAILED"}
    for step in ("vectors", "phase1", "phase2", "phase3", "analysis"):
        assert set(map_states(audit, audit.jobs[step].id)) == {"CANCELLED"}


def test_what_is_missing_is_said_before_anything_is_submitted(built: ClusterAudit) -> None:
    shutil.rmtree(built.folder / "models" / "flattery")
    done = built.shell("bash", "slurm/submit_overnight.sh", built.name)
    assert done.returncode == 2 and "MISSING" in done.stdout and "problems, listed above" in done.stderr
    assert not (built.folder / "jobs").exists()


def test_a_scheduler_that_crashes_forgets_jobs_and_a_resubmission_mends_it(
    built: ClusterAudit, reference: ClusterAudit
) -> None:
    built.submit(built.name)
    built.cluster.crash_controller()
    built.cluster.restore()
    status = built.status()
    assert status.returncode == 1
    assert "forgotten: it never ran, and the scheduler does not know it" in status.stdout or "held: " in status.stdout
    built.submit(built.name)
    built.wait_for_all()
    assert built.status().returncode == 0
    assert differences(built.tree(), reference.tree()) == []


def test_chosen_authors_hold_for_the_whole_chain(built: ClusterAudit) -> None:
    printed = built.submit(built.name, "--model-variant", "flattery", "--keep", "pooled", "--dry-run")
    assert "responses         40 = 1 × 40" in printed
    lines = {line.split("-tiny-")[1].split()[0]: line for line in printed.splitlines() if "--job-name" in line}
    assert list(lines) == ["vectors", "phase1", "phase2", "phase3", "analysis"]
    assert [step for step, line in lines.items() if "--model-variant flattery" in line] == list(lines)[1:]
    assert [step for step, line in lines.items() if "--keep pooled" in line] == ["phase1", "phase2"]
    assert not (built.folder / "jobs").exists()
