"""The sizes of cluster jobs, against numbers worked out by hand."""

import argparse
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from inference import preflight
from inference.job_sizes import BUILD, JobSize, Machine, job_sizes
from inference.model_cost import SLACK, ModelCost, gpu_shortage, model_cost
from inference.plan import Plan, make_plan
from inference.units import CaptureOptions
from inference.work_left import WorkLeft, work_left
from interp import cli
from interp.config import Experiment
from interp.errors import InputError
from interp.paths import REPOSITORY
from tests.inference.conftest import Audit

MACHINE = Machine(gpu_gb=80, gres="gpu:1", workers=8, time_limit_minutes=24 * 60)
BLEACHERS_BATCHES = 56 * (3 + 1 + 1)
"""165, 50 and 60 prompts in batches of 64."""


@pytest.fixture
def bleachers(tmp_path: Path) -> Experiment:
    return Experiment("audit-bleachers", tmp_path)


def plan_of(experiment: Experiment) -> Plan:
    return make_plan(experiment, None, None, CaptureOptions(response_only=True, stored_dtype="float16"))


def of(audit: Audit) -> Experiment:
    return Experiment(audit.name, audit.root)


def sizes_of(experiment: Experiment, machine: Machine = MACHINE, left: WorkLeft | None = None) -> dict[str, JobSize]:
    plan = plan_of(experiment)
    return job_sizes(experiment, plan, left or work_left(experiment, plan), machine)


def test_a_decode_step_is_that_of_the_published_table() -> None:
    """Weights expanded to bfloat16 before use, 70B: 154 ms on an A100-80; ours counts the embeddings as 4-bit too."""
    cost = ModelCost(parameters=70.6e9, bytes_per_parameter=4.5, n_layers=80, on_gpu=True)
    assert cost.step_seconds == pytest.approx(0.154, rel=0.02)
    assert cost.generate_seconds(300) == pytest.approx(SLACK * 300 * 70.6e9 * 4.5 / 2.039e12)


def test_a_forced_pass_is_two_flops_a_parameter_and_token() -> None:
    cost = ModelCost(70e9, 4.5, 80, on_gpu=True)
    assert cost.pass_seconds(1000) == pytest.approx(2 * 2 * 70e9 * 1000 / (0.4 * 312e12))
    assert cost.load_seconds == pytest.approx(60 + 140)


def test_a_small_models_step_is_bound_by_its_kernels() -> None:
    assert ModelCost(1e6, 4.0, 6, on_gpu=False).step_seconds == pytest.approx(0.006)
    assert ModelCost(1e9, 4.0, 6, on_gpu=False).step_seconds == pytest.approx(0.4)


def test_the_whole_of_audit_bleachers(bleachers: Experiment) -> None:
    """By hand. Generating: 2 × 300 × 0.1558 s = 93.5 s. Reading: 2 × 2 × 70.6e9 × 55 × 500 tokens / 124.8e12 = 62.2 s.

    Vectors: 17 traits of a batch of 40 questions and one of 20 held out, each answered and read under both kinds of
    system prompt; a full batch of 64 is generated in 93.5 s and read in 72.4 s: 17 × 4 × 165.9 s and a load: 191 min.
    Phase 1: 280 × 155.7 s = 12.1 h, so 4 workers of 70 batches: 3.03 h, a load (60 + 141.2 s) and 56 adapters: 194 min.
    Phase 2: 280 × 62.2 s = 4.8 h, so 2 workers of 140: 2.42 h and a load: 149 min.
    Phase 3: 336 readings, 50 a worker: 7 of 48; 48 × 2 × 165 × 29.5 MB / 200 MB/s = 39 min.
    """
    plan = plan_of(bleachers)
    left = work_left(bleachers, plan)
    assert left == WorkLeft(17, BLEACHERS_BATCHES, BLEACHERS_BATCHES, 56 * 3 * 2)
    sizes = job_sizes(bleachers, plan, left, MACHINE)
    assert sizes["vectors"] == JobSize(1, "gpu:1", 8, 64, 210)
    assert sizes["phase1"] == JobSize(4, "gpu:1", 8, 64, 210)
    assert sizes["phase2"] == JobSize(2, "gpu:1", 8, 64, 150)
    assert sizes["phase3"] == JobSize(7, None, 4, 12, 60)
    assert sizes["analysis"].width is None and sizes["analysis"].gres is None
    assert list(sizes) == ["vectors", "phase1", "phase2", "phase3", "analysis"]
    assert "280 batches × 156 s" in sizes["phase1"].arithmetic and "12:06:" in sizes["phase1"].arithmetic


def test_options_as_sbatch_takes_them() -> None:
    options = JobSize(8, "gpu:a100:1", 8, 64, 26 * 60 + 30).sbatch_options()
    assert options == ["--array=0-7", "--gres=gpu:a100:1", "--cpus-per-task=8", "--mem=64G", "--time=1-02:30:00"]
    assert JobSize(1, None, 2, 4, 30).sbatch_options()[:2] == ["--array=0-0", "--gres=none"]
    assert BUILD.sbatch_options()[0] == "--gres=none"


def test_width_and_time_shrink_with_the_work(bleachers: Experiment) -> None:
    whole = WorkLeft(0, BLEACHERS_BATCHES, BLEACHERS_BATCHES, 336)
    asked = [sizes_of(bleachers, left=replace(whole, generate_batches=n))["phase1"] for n in (280, 140, 90, 20, 1)]
    assert [size.width for size in asked] == [4, 2, 1, 1, 1]
    assert [size.minutes for size in asked] == [210, 210, 270, 90, 30]
    assert sizes_of(bleachers, left=replace(whole, readings=101))["phase3"].width == 3
    done = sizes_of(bleachers, left=WorkLeft(0, 0, 0, 0, analysis=False))
    assert done == {}


def test_width_and_time_keep_to_what_the_cluster_has(bleachers: Experiment) -> None:
    few = sizes_of(bleachers, replace(MACHINE, workers=2))["phase1"]
    assert few.width == 2 and few.minutes == 390  # 140 × 155.7 s = 363 min, and 13 min to start
    short = sizes_of(bleachers, replace(MACHINE, workers=1, time_limit_minutes=200))
    assert short["phase1"].width == 1 and short["phase1"].minutes == 200
    assert short["phase3"].minutes == 200
    plan = plan_of(bleachers)
    given = job_sizes(bleachers, plan, work_left(bleachers, plan), MACHINE, width=28)["phase1"]
    assert given.width == 28 and given.minutes == 60  # 10 × 155.7 s = 26 min, and 13 min to start


def test_a_gpu_that_is_too_small_is_told_what_would_do(bleachers: Experiment) -> None:
    plan = plan_of(bleachers)
    assert plan.weight_bytes is not None
    needed = math.ceil(plan.weight_bytes * 1.15 / 1e9)
    assert needed == 42
    assert gpu_shortage(bleachers, plan, 42) is None
    with pytest.raises(InputError, match=r"need 42 GB, the cluster's has 40.*--gpu-gb"):
        sizes_of(bleachers, replace(MACHINE, gpu_gb=40))


def test_an_unknown_size_asks_for_the_shape(bleachers: Experiment) -> None:
    bleachers.config = bleachers.config.model_copy(update={"shape": None})
    with pytest.raises(InputError, match="add `shape`"):
        sizes_of(bleachers)


def test_four_bit_weights_want_a_gpu_however_few(bleachers: Experiment) -> None:
    shape = bleachers.config.shape
    assert shape is not None
    small = shape.model_copy(update={"parameters": 8e9})
    bleachers.config = bleachers.config.model_copy(update={"shape": small})
    assert sizes_of(bleachers)["phase1"].gres == "gpu:1"


def test_a_tiny_model_runs_on_a_cpu(fresh: Audit) -> None:
    experiment = of(fresh)
    plan = plan_of(experiment)
    left = work_left(experiment, plan)
    assert left.traits == len(experiment.paths.trait_names) > 0
    assert left.generate_batches == left.replay_batches > len(plan.authors)
    assert left.readings == 2 * len(plan.authors) * len(plan.prompt_sets)
    assert left.analysis and not left.build
    sizes = job_sizes(experiment, plan, left, replace(MACHINE, gpu_gb=0.001))
    assert list(sizes) == ["vectors", "phase1", "phase2", "phase3", "analysis"]
    for step in ("vectors", "phase1", "phase2"):
        assert sizes[step] == JobSize(1, None, 1, 4, 30), step
    more = Experiment(fresh.name, fresh.root)
    more.config = more.config.model_copy(update={"threads": None})
    assert sizes_of(more)["phase1"].cpus == 2


def test_a_model_that_is_not_built_yet_counts_as_tiny(fresh: Audit) -> None:
    (fresh.folder / "models" / "base").rename(fresh.root / "elsewhere")
    experiment = of(fresh)
    plan = plan_of(experiment)
    left = work_left(experiment, plan)
    assert left.build and plan.weight_bytes is None
    sizes = job_sizes(experiment, plan, left, MACHINE)
    assert sizes["build"] == BUILD and sizes["phase1"] == JobSize(1, None, 1, 4, 30)
    with pytest.raises(InputError, match="add `shape`"):
        model_cost(experiment, plan, replace(left, build=False))


def preflight_lines(audit: Audit, capsys: pytest.CaptureFixture[str], *flags: str) -> list[str]:
    where = ["--experiment", audit.name, "--root", str(audit.root), "--response-only", "--vectors-later"]
    assert preflight.main([*where, *flags]) == 0
    return capsys.readouterr().out.splitlines()


def test_preflight_prints_the_options_of_what_is_left(fresh: Audit, capsys: pytest.CaptureFixture[str]) -> None:
    lines = preflight_lines(fresh, capsys, "--sbatch", "--time-limit", "0:20")
    assert "  sbatch phase1     --array=0-0 --gres=none --cpus-per-task=1 --mem=4G --time=0-00:20:00" in lines
    assert lines[-1] == "  ready"
    steps = [line.split()[1] for line in lines if line.startswith("  sbatch ")]
    assert steps == ["vectors", "phase1", "phase2", "phase3", "analysis"]
    assert not any("sbatch" in line for line in preflight_lines(fresh, capsys))


def test_preflight_prints_no_options_when_all_is_done(done: Audit, capsys: pytest.CaptureFixture[str]) -> None:
    lines = preflight_lines(done, capsys, "--sbatch")
    assert [line for line in lines if "sbatch" in line] == ["  sbatch            nothing is left to do"]


def preflight_of_bleachers(root: Path, *flags: str) -> "subprocess.CompletedProcess[str]":
    """In a process of its own, which says at the end whether torch was imported."""
    arguments = ["--experiment", "audit-bleachers", "--root", str(root), "--response-only", "--sbatch", *flags]
    script = (
        "import sys\nfrom inference import preflight\nfrom interp import cli\n"
        f"try:\n    cli.run(lambda: preflight.main({arguments!r}))\n"
        "finally:\n    print('torch imported:', 'torch' in sys.modules)\n"
    )
    return subprocess.run([sys.executable, "-c", script], cwd=REPOSITORY, capture_output=True, text=True)


def test_preflight_sizes_the_bleachers_where_nothing_can_be_reached(tmp_path: Path) -> None:
    found = preflight_of_bleachers(tmp_path, "--workers", "3", "--gres", "gpu:a100:1")
    assert found.returncode == 2, found.stderr
    lines = found.stdout.splitlines()
    assert "  sbatch phase1     --array=0-2 --gres=gpu:a100:1 --cpus-per-task=8 --mem=64G --time=0-04:30:00" in lines
    assert any(line.startswith("  phase1            12:06:") for line in lines)
    assert not any(line.startswith("  MISSING           GPU") for line in lines)
    assert "torch imported: False" in lines


def test_preflight_refuses_a_small_gpu_once(tmp_path: Path) -> None:
    found = preflight_of_bleachers(tmp_path, "--gpu-gb", "24")
    assert found.returncode == 2
    assert found.stdout.count("need 42 GB, the cluster's has 24") == 1
    assert "sbatch phase1" not in found.stdout


@pytest.mark.parametrize(
    ("text", "minutes"),
    [("24:00:00", 1440), ("4:30", 270), ("0:20:59", 20), ("2-03:04:00", 48 * 60 + 184), ("100:00:00", 6000)],
)
def test_times(text: str, minutes: int) -> None:
    assert cli.minutes_argument(text) == minutes


@pytest.mark.parametrize("text", ["", "90", "0:00", "1:60", "1:00:60", "2-4", "2-4:00", "-1:00", "1:0"])
def test_no_times(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="write H:MM, H:MM:SS or D-HH:MM:SS"):
        cli.minutes_argument(text)


def test_cluster_options_come_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ("INTERP_GPU_GB", "INTERP_GRES", "INTERP_WORKERS", "INTERP_TIME_LIMIT")
    for name in names:
        monkeypatch.delenv(name, raising=False)
    assert vars(cli.cluster_options().parse_args([])) == {
        "gpu_gb": 80.0, "gres": "gpu:1", "workers": 8, "time_limit": 1440, "width": None
    }
    for name, value in zip(names, ("40.5", "gpu:a100:1", "3", "1-00:30:00"), strict=True):
        monkeypatch.setenv(name, value)
    given = vars(cli.cluster_options().parse_args(["--workers", "5"]))
    assert given == {"gpu_gb": 40.5, "gres": "gpu:a100:1", "workers": 5, "time_limit": 1470, "width": None}
    monkeypatch.setenv("INTERP_GPU_GB", "plenty")
    with pytest.raises(SystemExit):
        cli.cluster_options().parse_args([])
    assert "'plenty' is not a number above 0" in capsys.readouterr().err
