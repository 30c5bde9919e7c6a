"""The image without Docker, and its program as a process of its own, taken away half-way.

What the Dockerfile copies is copied, its list of packages with all that they need is put together from the installed
ones, and a Python that sees nothing else runs the entry point.
"""

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import Distribution, distribution
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

from experiments.concept_injection.cloud_batch.entry_point import Task, run_task
from experiments.concept_injection.cloud_batch.job import BatchJob
from experiments.concept_injection.cloud_batch.service import EMULATOR, BatchService
from experiments.concept_injection.cloud_batch.submitted import status_lines, submit
from experiments.concept_injection.paths import SweepPaths
from experiments.concept_injection.request import SweepRequest
from interp.jsonl import read_lines
from interp.paths import REPOSITORY
from interp.stores import open_store, read_grown
from tests.batch_server import BatchServer, running_server
from tests.experiments.concept_injection.conftest import Swept
from tests.object_stores import QUICK, Place, new_place

FOLDER = REPOSITORY / "experiments" / "concept_injection" / "cloud_batch"

EVERY = 4
"""Trials between uploads; as many as a batch has."""
SLOW = {"concepts": ("fear",), "trials": 12, "control_trials": 4, "batch_size": EVERY}
"""Long enough to be interrupted: 24 batches."""


def instructions(name: str) -> list[str]:
    """The arguments of the Dockerfile's instructions of one kind."""
    text = (FOLDER / "Dockerfile").read_text().replace("\\\n", " ")
    return re.findall(rf"^{name} +(.*)$", text, re.MULTILINE)


@dataclass(frozen=True)
class Image:
    """What a container sees of this machine: its files, its packages."""

    app: Path
    packages: Path

    def environment(self) -> dict[str, str]:
        names = ("PATH", "HF_HUB_OFFLINE", "STORAGE_EMULATOR_HOST")
        kept = {name: os.environ[name] for name in names if name in os.environ}
        return {**kept, "PYTHONPATH": str(self.packages), "PYTHONDONTWRITEBYTECODE": "1", "SWEEP_DEVICE": "cpu"}

    def python(self, *arguments: str) -> list[str]:
        """Started in /app; -S: without the packages of this Python, and without what they put on its path."""
        return ["env", "-C", str(self.app), sys.executable, "-S", *arguments]

    @property
    def entry_point(self) -> list[str]:
        (given,) = instructions("ENTRYPOINT")
        program, *arguments = re.findall(r'"([^"]+)"', given)
        assert program == "python"
        return self.python(*arguments)


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    root = tmp_path_factory.mktemp("image")
    copy_files(REPOSITORY, root / "app")
    for installed in needed(required()):
        link(installed, root / "packages")
    return Image(root / "app", root / "packages")


@pytest.fixture(scope="module")
def whole(request_of: Callable[..., SweepRequest], tmp_path_factory: pytest.TempPathFactory) -> Swept:
    """The sweep, uninterrupted."""
    root = tmp_path_factory.mktemp("whole")
    swept = Swept(root / "root", request_of(**SLOW), root / "request.json")
    swept.request_file.write_text(swept.request.model_dump_json())
    assert swept.run() == 0
    return swept


def required() -> list[str]:
    """What the image's own list names."""
    lines = (FOLDER / "requirements.txt").read_text().splitlines()
    return [line for line in lines if not line.startswith("#")]


def copy_files(context: Path, app: Path) -> None:
    """As the Dockerfile's COPY lines say; a name that ends in / is a folder."""
    for line in instructions("COPY"):
        *sources, target = shlex.split(line)
        for source in sources:
            for path in [context / source] if source.endswith("/") else sorted(context.glob(source)):
                if path.is_dir():
                    shutil.copytree(path, app / target, ignore=shutil.ignore_patterns("__pycache__"))
                else:
                    place = app / target / path.name if target.endswith("/") else app / target
                    place.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy(path, place)


def needed(names: list[str]) -> list[Distribution]:
    """The installed distributions of these requirements, and of theirs."""
    found: dict[str, Distribution] = {}
    asked: set[tuple[str, str]] = set()
    waiting = [(Requirement(name).name, extra) for name in names for extra in ("", *Requirement(name).extras)]
    while waiting:
        name, extra = waiting.pop()
        if (name.lower(), extra) in asked:
            continue
        asked.add((name.lower(), extra))
        found[name.lower()] = distribution(name)
        for text in found[name.lower()].requires or ():
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
                waiting += [(requirement.name, each) for each in ("", *requirement.extras)]
    return list(found.values())


def link(installed: Distribution, packages: Path) -> None:
    """A distribution's top-level names in a folder of packages; `google` belongs to several, so file by file."""
    for file in installed.files or ():
        shared = file.parts[0] == "google"
        name = Path(*file.parts) if shared else Path(file.parts[0])
        source, target = Path(str(installed.locate_file(name))), packages / name
        if ".." not in name.parts and source.exists() and not target.is_symlink():
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(source)


def test_hadolint_finds_nothing() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([hadolint, FOLDER / "Dockerfile"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_versions_are_those_of_the_whole_repository() -> None:
    """The constraints that the Dockerfile makes are ones that pip takes, and have a version for every package."""
    command = re.search(r"sed (.*?) all-requirements.txt", instructions("RUN")[1])
    assert command
    sed = ["sed", *shlex.split(command[1]), str(REPOSITORY / "requirements.txt")]
    done = subprocess.run(sed, capture_output=True, text=True, check=True)
    lines = [line for line in done.stdout.splitlines() if line and not line.startswith("#")]
    pinned = {requirement.name: requirement for requirement in map(Requirement, lines)}
    assert len(pinned) > 20 and not any(requirement.extras for requirement in pinned.values())
    assert [line for line in required() if Requirement(line).name not in pinned] == []


def test_only_what_is_named_gets_into_the_image(tmp_path: Path) -> None:
    """Results, keys and environments lie about in a checkout that is worked in."""
    context = tmp_path / "context"
    for line in instructions("COPY"):
        for source in shlex.split(line)[:-1]:
            for path in [REPOSITORY / source] if source.endswith("/") else REPOSITORY.glob(source):
                target = context / path.relative_to(REPOSITORY)
                if path.is_dir():
                    shutil.copytree(path, target, ignore=shutil.ignore_patterns("__pycache__"))
                else:
                    target.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy(path, target)
    study = context / "experiments" / "concept_injection"
    planted = [context / ".env", study / ".env", study / "first" / "7b" / "fear.jsonl", context / ".venv" / "x.py",
               study / "first" / "7b" / "request.json", context / "experiments" / "audit" / "a.py"]  # fmt: skip
    for path in planted:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
    copy_files(context, tmp_path / "app")
    copied = {str(path.relative_to(tmp_path / "app")) for path in (tmp_path / "app").rglob("*") if path.is_file()}
    assert {name.partition("/")[0] for name in copied} == {
        "interp", "datasets", "experiments", "requirements.txt", "all-requirements.txt"
    }  # fmt: skip
    assert not [name for name in copied if ".env" in name or "/first/" in name or "/audit/" in name]


# --- Taken away -------------------------------------------------------------------------------------------------------


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    return new_place("gs", tmp_path, monkeypatch)


@pytest.fixture
def server(image: Image, place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[BatchServer]:
    """The stand-in, whose containers are the image's."""
    environment = {**image.environment(), "PYTHONPATH": str(REPOSITORY)}
    command = ["env", f"PYTHONPATH={image.packages}", *image.entry_point]
    with running_server(tmp_path / "disks", command, environment) as running:
        monkeypatch.setenv(EMULATOR, running.address)
        yield running


def job_of(swept: Swept, place: Place) -> BatchJob:
    return BatchJob(
        job_id="sweep-e", project="my-project", region="us-central1", image="gcr.io/p/sweep:1",
        service_account="s@my-project.iam.gserviceaccount.com", machine_type="g2-standard-8", disk_gb=100,
        task_count=2, parallelism=2, request=swept.request, store=place.url, upload_every=EVERY,
    )  # fmt: skip


def lines_on(disk: Path, name: str) -> int:
    """Whole lines that a task has written on its own disk."""
    return sum(path.read_bytes().count(b"\n") for path in disk.glob(f"sweep-*/concept_injection/e/tiny/{name}"))


def wait_until(what: Callable[[], object], seconds: float = 90.0) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


def content(store: Any, folder: Path) -> dict[str, list[dict[str, Any]]]:
    """The finished files in a store, timestamps left out."""
    found: dict[str, list[dict[str, Any]]] = {}
    folder.mkdir()
    for name in store.list("e/tiny/"):
        if name.endswith(".jsonl") and ".parts/" not in name:
            (folder / "file").write_bytes(store.read_bytes(name))
            found[Path(name).name] = [{**row, "timestamp": None} for row in read_lines(folder / "file")]
    return found


def test_a_machine_that_is_taken_away_is_replaced_by_one_that_goes_on(
    server: BatchServer, place: Place, whole: Swept, tmp_path: Path
) -> None:
    """kill -9 half-way, then another machine with an empty disk; in the end the files of an uninterrupted sweep."""
    store, paths = place.open(), SweepPaths.of(tmp_path / "here", whole.request)
    job = job_of(whole, place)
    submitted = submit(job, paths, force=False)
    wait_until(lambda: len(store.list("e/tiny/fear.jsonl.parts/")) >= 3)
    server.preempt(job.job_id, 1)
    wait_until(lambda: BatchService().describe(job.name).tasks[1].exit_codes)
    kept = read_grown(store, "e/tiny/fear.jsonl")
    written = lines_on(server.disk(job.job_id, 1, 0), "fear.jsonl")
    assert 0 < kept.count(b"\n") < len(whole.content()["fear.jsonl"]), "it was not half-way"
    assert written - kept.count(b"\n") <= EVERY, "more is lost than was promised"
    assert server.wait(job.name) == "SUCCEEDED"
    assert content(store, tmp_path / "down") == whole.content()
    assert store.read_bytes("e/tiny/fear.jsonl").startswith(kept), "what was stored is not made again"
    report = BatchService().describe(job.name)
    assert [task.exit_codes for task in report.tasks] == [(), (50001,)]
    assert status_lines(submitted, paths, BatchService())[1:] == [
        "  task 0: control: SUCCEEDED; stored: all",
        "  task 1: fear: SUCCEEDED, attempts ended with 50001; stored: all",
    ]


def test_a_warned_task_stores_everything_and_asks_for_another_attempt(
    image: Image, place: Place, whole: Swept, tmp_path: Path
) -> None:
    """SIGTERM, as on a spot machine; nothing was uploaded before. Then the rest, on another disk."""
    environment = {
        **image.environment(), "TMPDIR": str(tmp_path), "SWEEP_REQUEST": whole.request.model_dump_json(),
        "SWEEP_STORE": place.url, "SWEEP_UPLOAD_EVERY": "1000", "BATCH_TASK_INDEX": "1", "BATCH_TASK_COUNT": "2",
    }  # fmt: skip
    process = subprocess.Popen(image.entry_point, env=environment, stderr=subprocess.PIPE, text=True)
    wait_until(lambda: lines_on(tmp_path, "fear.jsonl") >= 2 * EVERY or process.poll() is not None)
    written = lines_on(tmp_path, "fear.jsonl")
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 75, said
    assert "error: stopped by SIGTERM with fear not finished" in said.splitlines()[-1]
    kept = read_grown(place.open(), "e/tiny/fear.jsonl")
    assert written <= kept.count(b"\n") < len(whole.content()["fear.jsonl"])
    assert not list(tmp_path.glob("sweep-*")), "the disk is left clean"
    run_task(Task.read(environment), [])
    assert place.open().read_bytes("e/tiny/fear.jsonl").startswith(kept)
    assert content(open_store(place.url, QUICK), tmp_path / "down")["fear.jsonl"] == whole.content()["fear.jsonl"]


def test_the_container_sees_nothing_but_the_image(image: Image) -> None:
    """What the two tests above rest on."""
    program = """
from importlib.util import find_spec
import accelerate, bitsandbytes, botocore, experiments.concept_injection.readout, interp.judges.openai_judge
import experiments.concept_injection.injection as ours, torch, google.cloud.storage as storage
print(ours.__file__, torch.__file__, storage.__file__)
print([name for name in ("pytest", "modal", "analysis", "experiments.planted_quirks") if find_spec(name)])
"""
    done = subprocess.run(image.python("-c", program), env=image.environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    files, strangers = done.stdout.splitlines()
    ours, *packages = files.split()
    assert ours.startswith(str(image.app)) and all(name.startswith(str(image.packages)) for name in packages)
    assert strangers == "[]"
