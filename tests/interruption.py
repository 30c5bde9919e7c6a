"""Kill an audit at random moments, again and again, and see that it ends with the tree of an uninterrupted one.

Used by tests/inference/test_kill_and_resume.py; by hand, on a built experiment (a copy of it is audited):

    python -m tests.interruption --experiment planted_quirks --kills 20
"""

import argparse
import hashlib
import os
import random
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from interp.paths import REPOSITORY, default_root

STEPS = (
    ("inference/extract_trait_vectors.py", "--skip-existing"),
    ("inference/generate_responses.py", "--response-only", "--skip-existing"),
    ("inference/replay_responses.py", "--response-only", "--skip-existing"),
    ("inference/project_raw_activations_onto_traits.py", "--skip-existing"),
    ("analysis/compare_readers.py",),
    ("analysis/top_activating_responses.py",),
    ("analysis/report.py",),
)
MADE = ("vectors", "inference", "analysis")


@dataclass
class Interruptions:
    """What happened: how often it was killed, how many finished files were written again."""

    kills: int = 0
    rewritten: list[str] = field(default_factory=list)
    tree: dict[str, str] = field(default_factory=dict)


def audit_command(experiment: str, root: Path) -> list[str]:
    """One shell command that runs every step, as run_overnight.sh does."""
    target = f"--experiment {experiment} --root {shlex.quote(str(root))}"
    steps = [f"{shlex.quote(sys.executable)} {script} {target} {' '.join(flags)}" for script, *flags in STEPS]
    return ["bash", "-ec", "\n".join(steps)]


def run_audit(experiment: str, root: Path) -> float:
    """Run every step to its end; seconds."""
    start = time.monotonic()
    subprocess.run(audit_command(experiment, root), cwd=REPOSITORY, check=True, capture_output=True)
    return time.monotonic() - start


def run_interrupted(experiment: str, root: Path, kills: int, longest: float, seed: int = 0) -> Interruptions:
    """Run an audit that is killed (-9, with all its children) up to `kills` times, within `longest` seconds each."""
    draw, found = random.Random(seed), Interruptions()
    folder = root / experiment
    finished: dict[str, tuple[int, int]] = {}
    unfinished = True
    while found.kills < kills and unfinished:
        process = subprocess.Popen(
            audit_command(experiment, root), cwd=REPOSITORY, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            process.wait(draw.uniform(0.2, longest))
            unfinished = False
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            found.kills += 1
        found.rewritten += _changed(finished, now := _identities(folder))
        finished = now
    run_audit(experiment, root)
    found.rewritten += _changed(finished, _identities(folder))
    found.tree = hash_tree(folder)
    return found


def hash_tree(folder: Path) -> dict[str, str]:
    """Every file that a run has made, hidden ones too, by its content."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for name in MADE
        for path in sorted((folder / name).rglob("*"))
        if path.is_file()
    }


def differences(one: dict[str, str], other: dict[str, str]) -> list[str]:
    """The files that two trees do not share byte for byte."""
    return sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))


def fresh_copy(experiment: str, source: Path, root: Path) -> None:
    """What an audit is given, without what it has made."""
    shutil.copytree(source / experiment, root / experiment, ignore=shutil.ignore_patterns(*MADE, "__pycache__"))


def _identities(folder: Path) -> dict[str, tuple[int, int]]:
    """The finished responses, activations, vectors and projections, each with the inode and time of its writing."""
    return {
        str(path): (path.stat().st_ino, path.stat().st_mtime_ns)
        for name in ("vectors", "inference")
        for path in (folder / name).rglob("[!._]*")
        if path.is_file()
    }


def _changed(before: dict[str, tuple[int, int]], now: dict[str, tuple[int, int]]) -> list[str]:
    return [path for path, identity in before.items() if now.get(path) != identity]


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--experiment", default="planted_quirks")
    parser.add_argument("--root", type=Path, default=default_root())
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as whole, tempfile.TemporaryDirectory() as torn:
        for root in (whole, torn):
            fresh_copy(args.experiment, args.root, Path(root))
        seconds = run_audit(args.experiment, Path(whole))
        expected = hash_tree(Path(whole) / args.experiment)
        found = run_interrupted(args.experiment, Path(torn), args.kills, seconds * 2 / args.kills, args.seed)
    differing = differences(expected, found.tree)
    print(f"uninterrupted {seconds:.0f} s; {found.kills} kills; {len(expected)} files, {len(differing)} of them differ")
    print(f"{len(found.rewritten)} finished files were written again")
    for name in [*differing[:10], *found.rewritten[:10]]:
        print(" ", name)
    return 1 if differing or found.rewritten else 0


if __name__ == "__main__":
    sys.exit(main())
