"""Stopped anywhere, in any way, and taken up again: the same tree, and nothing lost."""

import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import interp.models
from inference import project_raw_activations_onto_traits
from interp.activations import load_activations
from interp.config import BaseModelSpec, Experiment
from interp.paths import REPOSITORY
from tests.inference.conftest import Audit
from tests.interruption import STEPS, audit_command, differences, hash_tree, run_interrupted


def start(audit: Audit, step: int, *flags: str) -> subprocess.Popen[str]:
    script, *usual = STEPS[step]
    command = [sys.executable, script, "--experiment", audit.name, "--root", str(audit.root), *usual, *flags]
    return subprocess.Popen(command, cwd=REPOSITORY, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def test_killed_again_and_again_it_ends_with_the_same_tree(fresh: Audit, audited: Audit) -> None:
    """Five kills here; `python -m tests.interruption --kills 20` on the default experiment."""
    found = run_interrupted(fresh.name, fresh.root, kills=5, longest=6.0)
    assert found.kills == 5
    assert differences(found.tree, hash_tree(audited.folder)) == []
    assert found.rewritten == []


def test_two_workers_at_once_make_the_tree_of_one(fresh: Audit, audited: Audit) -> None:
    command = audit_command(fresh.name, fresh.root)
    workers = [subprocess.Popen(command, cwd=REPOSITORY, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    for worker in workers:
        _, errors = worker.communicate(timeout=300)
        assert worker.returncode == 0, errors
    assert differences(hash_tree(fresh.folder), hash_tree(audited.folder)) == []


def test_a_stop_signal_ends_after_the_batch_with_the_status_that_means_again(fresh: Audit, audited: Audit) -> None:
    fresh.run("extract")
    process = start(fresh, 1)
    done = fresh.folder / "inference" / fresh.organisms()[0] / "activations" / "discovery" / "self"
    while not list(done.glob("[!_]*.pt")):
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 75, output
    last = output.strip().splitlines()[-1]
    assert last.startswith("error: stopped by SIGTERM with ") and "the same command goes on from here" in last
    fresh.run_all()
    assert differences(hash_tree(fresh.folder), hash_tree(audited.folder)) == []


def test_nothing_is_loaded_when_nothing_is_pending(done: Audit, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a model was loaded")

    monkeypatch.setattr(interp.models, "load_language_model", refuse)
    before = hash_tree(done.folder)
    done.run_all()
    assert hash_tree(done.folder) == before
    victim = next((done.folder / "inference").rglob("[!_]*.pt"))
    victim.unlink()
    with pytest.raises(AssertionError, match="a model was loaded"):
        done.run_all()


def test_a_finished_run_imports_no_torch(done: Audit) -> None:
    for script in ("generate_responses", "replay_responses", "project_raw_activations_onto_traits"):
        flags = [] if script.startswith("project") else ["--response-only"]
        argv = ["--experiment", done.name, "--root", str(done.root), "--skip-existing", *flags]
        code = f"import sys; from inference.{script} import main; main({argv!r}); assert 'torch' not in sys.modules"
        subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=True, capture_output=True)


def test_the_base_is_loaded_once_for_all_organisms(fresh: Audit, monkeypatch: pytest.MonkeyPatch) -> None:
    fresh.run("extract")
    loads = []
    load = interp.models.load_language_model

    def count(spec: BaseModelSpec, device: str | None = None) -> interp.models.LanguageModel:
        loads.append(spec)
        return load(spec, device)

    monkeypatch.setattr(interp.models, "load_language_model", count)
    fresh.run("generate", "--response-only")
    fresh.run("replay", "--response-only")
    assert len(loads) == 2
    assert len(fresh.organisms()) > 1


def test_a_torn_file_is_made_again(done: Audit) -> None:
    before = hash_tree(done.folder)
    for pattern in ("[!_]*.pt", "[!_]*.json", "self.parquet"):
        victim = sorted((done.folder / "inference").rglob(pattern))[0]
        victim.write_bytes(victim.read_bytes()[:-7])
    assert done.run("status") == 1
    done.run_all()
    assert hash_tree(done.folder) == before


def test_a_disk_that_fills_stops_the_run_and_leaves_no_partial_file(fresh: Audit, audited: Audit) -> None:
    """A real small file system where we may mount one, else a limit on the size of files."""
    fresh.run("extract")
    target = fresh.folder / "inference"
    target.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", str(target)], capture_output=True)
    limit = [] if mounted.returncode == 0 else ["prlimit", "--fsize=8000"]
    script, *flags = STEPS[1]
    command = [*limit, sys.executable, script, "--experiment", fresh.name, "--root", str(fresh.root), *flags]
    try:
        process = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
        left = [path for path in target.rglob("*") if path.is_file()]
        whole = [path for path in left if path.suffix == ".pt" and load_activations(path)]
        kept = fresh.folder / "kept"
        shutil.copytree(target, kept)
    finally:
        if mounted.returncode == 0:
            subprocess.run(["umount", str(target)], check=True)
    assert process.returncode == 4, process.stderr
    last = process.stderr.strip().splitlines()[-1]
    assert last.startswith("error: no room on the disk of ") and "missing" in last
    assert not [path for path in left if path.name.endswith(".tmp")]
    assert mounted.returncode != 0 or whole  # something was finished before it filled
    shutil.rmtree(target)
    kept.rename(target)
    fresh.run_all()  # on a disk with room, the same command goes on from there
    assert differences(hash_tree(fresh.folder), hash_tree(audited.folder)) == []


def test_leftovers_of_a_killed_writer_are_swept(done: Audit) -> None:
    folder = next((done.folder / "inference").rglob("self"))
    code = "import sys; from pathlib import Path; from interp import files\n"
    code += "files.temporary_name(Path(sys.argv[1])).touch()"
    writer = subprocess.run([sys.executable, "-c", code, str(folder / "x.pt")], cwd=REPOSITORY)
    assert writer.returncode == 0
    assert list(folder.glob(".*.tmp"))
    done.run("generate", "--response-only", "--skip-existing")
    assert not list(folder.glob(".*.tmp"))


def test_overwrite_makes_everything_again_the_same(done: Audit) -> None:
    before = hash_tree(done.folder)
    victim = sorted(Path(done.folder / "inference").rglob("self/[!_]*.pt"))[0]
    stamp = victim.stat().st_mtime_ns
    done.run("generate", "--response-only", "--overwrite")
    assert victim.stat().st_mtime_ns != stamp
    assert hash_tree(done.folder) == before


def test_a_reading_that_another_worker_has_projected_since_is_left_as_it_is(
    fresh: Audit, audited: Audit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two workers plan the same readings; the slower one finds the faster one's files and adds nothing to them."""
    for step in ("extract", "generate", "replay"):
        fresh.run(step, *([] if step == "extract" else ["--response-only"]))
    do_work = project_raw_activations_onto_traits._do_work

    def after_another(experiment: Experiment, work: Any, args: Any) -> None:
        do_work(experiment, work[::2], args)
        do_work(experiment, work, args)

    monkeypatch.setattr(project_raw_activations_onto_traits, "_do_work", after_another)
    fresh.run("project")
    trees = [
        {name: digest for name, digest in hash_tree(audit.folder).items() if "/projections/" in name}
        for audit in (fresh, audited)
    ]
    assert trees[0] and differences(*trees) == []
