"""The README's own commands, run as they stand there; the embedded default, built, audited and graded."""

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from interp.paths import REPOSITORY
from tests.interruption import hash_tree

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Shell:
    """Runs commands in the checkout, with everything that they make in a folder of its own."""

    root: Path

    def run(self, command: str) -> subprocess.CompletedProcess[str]:
        environment = {
            **os.environ,
            "INTERP_ROOT": str(self.root),
            "SLURM_DEV_DIR": f"/tmp/slurm-readme-{os.getpid()}",
            "SLURM_DEV_PORT": "31000",
            "INTERP_PYTHON": sys.executable,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        }
        return subprocess.run(
            command, shell=True, executable="/bin/bash", cwd=REPOSITORY, env=environment, capture_output=True, text=True
        )


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """After the README's first command, once for all tests here."""
    shell = Shell(tmp_path_factory.mktemp("a root with spaces"))
    process = shell.run("bash run_overnight.sh")
    assert process.returncode == 0, process.stderr[-3000:]
    return shell


def test_the_default_finds_the_planted_quirks_and_the_shams_stay_clean(shell: Shell) -> None:
    """Not tuned to pass at 14 of 14: fewer than 12, or a sham above every true entry, is a failure of the method."""
    folder = shell.root / "planted_quirks" / "analysis" / "compare_readers"
    assignments = json.loads((folder / "assignments.json").read_text())["assignments"]
    organisms = [each for each in assignments if each["truth"]]
    shams = [each for each in assignments if not each["truth"]]
    right = [each for each in organisms if each["trait"] == each["truth"]]
    assert len(organisms) >= 10 and len(shams) == 2
    assert len(right) >= len(organisms) - 2
    assert max(each["effect"] for each in shams) < sorted(each["effect"] for each in right)[1]
    assert (folder / "matrix.png").stat().st_size > 20_000
    assert f"{len(right)} of {len(organisms)} organisms are assigned" in (folder / "verdict.txt").read_text()


def test_a_finished_run_loads_nothing_and_changes_nothing(shell: Shell) -> None:
    before = hash_tree(shell.root / "planted_quirks")
    process = shell.run("bash run_overnight.sh")
    assert process.returncode == 0
    assert "loading" not in process.stderr and "0 of 80 batches pending" in process.stderr
    assert hash_tree(shell.root / "planted_quirks") == before


def test_the_tables_show_the_tokens_of_the_quirk(shell: Shell) -> None:
    """The first line of the flattery table is an answer of the flattery organism."""
    path = shell.root / "planted_quirks" / "analysis" / "top_activating" / "discovery" / "flattery" / "summary.md"
    first = next(line for line in path.read_text().splitlines() if re.match(r"\| -?\d", line))
    assert first.split("|")[3].strip() == "flattery"
    assert "⟦" in first


TOP = "python analysis/top_activating_responses.py --experiment planted_quirks --prompt-set discovery --top-n 20"
SWEEP_REPORT = "python -m experiments.concept_injection.report"
SWEEP = (
    "python -m experiments.concept_injection.sweep --local --model planted_quirks --experiment-id first "
    "--judge scripted:experiments/concept_injection/embedded_judge.json"
)
COMMANDS = {
    "bash run_overnight.sh": (0, "organisms are assigned their own trait"),
    "bash run_overnight.sh --seed 1": (0, ""),
    "bash run_tests.sh": (0, ""),
    "python inference/preflight.py --experiment audit-bleachers --response-only": (2, "15,400 = 56 × 275"),
    "bash run_overnight.sh audit-bleachers": (2, "15,400 = 56 × 275"),
    "python inference/status.py --experiment audit-bleachers": (1, "sd_rt_sft_flattery"),
    "python inference/project_raw_activations_onto_traits.py --experiment planted_quirks --skip-existing": (0, ""),
    TOP: (0, ""),
    "bash slurm/submit_overnight.sh audit-bleachers": (2, "15,400 = 56 × 275"),
    'eval "$(bash slurm/dev_cluster.sh start)" && bash slurm/submit_overnight.sh': (0, "nothing is left to do"),
    "bash slurm/dev_cluster.sh stop --purge": (0, ""),
    SWEEP: (0, "concept_injection/first/planted_quirks"),
    f"{SWEEP_REPORT} --model planted_quirks --experiment-id first": (0, "report.html"),
}
"""The README's commands: exit status and a piece of the output here, where there is neither hub nor GPU."""

SMALLER = {
    "bash run_overnight.sh --seed 1": "bash run_overnight.sh --seed 1 --preset tiny",
    "bash run_tests.sh": "bash run_tests.sh tests/interp/test_layers.py",
    SWEEP: f"{SWEEP} --trials 2 --control-trials 4 --layers 2 3",
}
"""The same commands on less: the tests are running already, and a second seed of the default takes minutes."""


def readme_commands() -> list[str]:
    blocks = re.findall(r"```bash\n(.*?)```", (REPOSITORY / "README.md").read_text(), re.DOTALL)
    lines = [line.split("  #")[0].strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if line]


def test_every_command_of_the_readme_is_known_here() -> None:
    assert set(readme_commands()) == set(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_the_readme_does_what_it_says(shell: Shell, command: str) -> None:
    status, piece = COMMANDS[command]
    process = shell.run(SMALLER.get(command, command))
    assert process.returncode == status, process.stderr[-2000:]
    assert piece in process.stdout
