"""What a container of Google Cloud Batch does, step by step: its share, its store, its exit statuses."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from experiments.concept_injection import sweep
from experiments.concept_injection.cloud_batch import entry_point
from experiments.concept_injection.cloud_batch.entry_point import Task, main, run_task
from experiments.concept_injection.destination import Destination
from experiments.concept_injection.keeping import Keeping
from experiments.concept_injection.request import SweepRequest
from interp.errors import InputError, SettingsChanged, Stopped
from interp.jsonl import read_lines
from interp.paths import REPOSITORY
from interp.stores import StoreError, open_store, read_grown
from interp.work import Shard
from tests.experiments.concept_injection.conftest import Swept
from tests.object_stores import QUICK, Place, new_place

Make = Callable[..., Swept]


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """`main` takes SIGTERM; the tests' own process gets it back."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def variables(request: SweepRequest, store: str, index: int = 0, count: int = 3) -> dict[str, str]:
    return {
        "SWEEP_REQUEST": request.model_dump_json(), "SWEEP_STORE": store, "SWEEP_UPLOAD_EVERY": "8",
        "BATCH_TASK_INDEX": str(index), "BATCH_TASK_COUNT": str(count), "SWEEP_DEVICE": "cpu",
    }  # fmt: skip


def task_of(request: SweepRequest, store: str, share: str = "0/1") -> Task:
    return Task(request, store, 8, Shard.parse(share), "cpu")


def stored_lines(store: str, folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Every line of every file in a store, timestamps left out, as `Swept.content` gives those of a disk."""
    found = {}
    for name in open_store(store).list("e/tiny/"):
        if name.endswith(".jsonl") and ".parts/" not in name and ".verdicts/" not in name:
            path = folder / Path(name).name
            path.parent.mkdir(exist_ok=True, parents=True)
            path.write_bytes(open_store(store).read_bytes(name))
            found[path.name] = [{**row, "timestamp": None} for row in read_lines(path)]
    return found


def test_a_task_has_the_file_of_its_index(sweep_in: Make) -> None:
    request = sweep_in().request
    for index, name in enumerate(("control", "fear", "ocean")):
        assert Task.read(variables(request, "gs://b/p", index)).files == [name]
    assert Task.read(variables(request, "gs://b/p", 1, 2)).files == ["fear", "ocean"]
    assert Task.read({**variables(request, "gs://b/p"), "SWEEP_DEVICE": ""}).device == "cuda"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"SWEEP_STORE": "", "BATCH_TASK_INDEX": ""}, "SWEEP_STORE, BATCH_TASK_INDEX missing"),
        ({"SWEEP_REQUEST": "{"}, "SWEEP_REQUEST is no JSON"),
        ({"SWEEP_REQUEST": '{"experiment_id": "e", "strength": 2}'}, "SWEEP_REQUEST: unknown key 'strength'"),
        ({"SWEEP_UPLOAD_EVERY": "often"}, "SWEEP_UPLOAD_EVERY: 'often'"),
        ({"BATCH_TASK_INDEX": "3"}, "0 <= i < n"),
    ],
)
def test_a_wrong_environment_is_one_line(sweep_in: Make, changes: dict[str, str], said: str) -> None:
    with pytest.raises(InputError, match=said):
        Task.read({**variables(sweep_in().request, "gs://b/p"), **changes})


def test_a_wrong_request_ends_a_process_with_a_final_status(sweep_in: Make, tmp_path: Path) -> None:
    environment = {**os.environ, **variables(sweep_in().request, str(tmp_path)), "SWEEP_REQUEST": "{}"}
    done = subprocess.run(
        [sys.executable, "-m", "experiments.concept_injection.cloud_batch.entry_point"], cwd=REPOSITORY,
        env=environment, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == InputError.exit_status == 2
    assert done.stderr.splitlines() == ["error: SWEEP_REQUEST: experiment_id: Field required"]


def test_tasks_make_the_files_of_one_run_and_a_second_attempt_loads_nothing(
    sweep_in: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, store = sweep_in(), str(tmp_path / "bucket")
    whole.run()
    run_task(task_of(whole.request, store, "2/3"), [])
    assert set(stored_lines(store, tmp_path / "first")) == {"ocean.jsonl", "ocean.log_odds.jsonl"}
    for share in ("0/3", "1/3"):
        run_task(task_of(whole.request, store, share), [])
    assert stored_lines(store, tmp_path / "down") == whole.content()
    names = set(open_store(store).list("e/tiny/"))
    assert {"e/tiny/request.json", "e/tiny/_manifest.json", "e/tiny/vectors.safetensors"} <= names

    def load(*_: object) -> None:
        raise AssertionError("a model was loaded")

    monkeypatch.setattr("interp.models.load_language_model", load)
    run_task(task_of(whole.request, store), [])
    assert set(open_store(store).list("e/tiny/")) == names


def test_a_task_judges_and_stores_the_verdicts(sweep_in: Make, tmp_path: Path) -> None:
    request, store = sweep_in(concepts=("fear",), trials=1).request, str(tmp_path / "bucket")
    judge = ["--judge", "scripted:experiments/concept_injection/embedded_judge.json"]
    run_task(task_of(request, store, "1/2"), judge)
    (verdicts,) = (name for name in open_store(store).list("e/tiny/fear.verdicts/") if ".parts/" not in name)
    lines = open_store(store).read_bytes("e/tiny/fear.jsonl").splitlines()
    assert len(open_store(store).read_bytes(verdicts).splitlines()) == len(lines)


def test_no_task_goes_on_from_another_requests_lines(sweep_in: Make, tmp_path: Path) -> None:
    store = str(tmp_path / "bucket")
    run_task(task_of(sweep_in().request, store, "0/3"), [])
    before = open_store(store).list()
    with pytest.raises(SettingsChanged, match=r"another request \(control_trials: .*strengths: "):
        run_task(task_of(sweep_in(strengths=(2.0,), control_trials=9).request, store, "1/3"), [])
    assert open_store(store).list() == before


def test_of_two_first_tasks_one_claims(sweep_in: Make, tmp_path: Path) -> None:
    """The second has looked before the first has claimed."""
    first, second = sweep_in().request, sweep_in(trials=5).request
    store = open_store(str(tmp_path / "bucket"))
    destinations = [Destination.of(store, request, tmp_path) for request in (first, second)]
    look = Destination.check

    def slow(self: Destination, request: SweepRequest) -> None:
        look(self, request)
        if request == second and not store.exists("e/tiny/_manifest.json"):
            destinations[0].claim(first)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Destination, "check", slow)
        with pytest.raises(SettingsChanged, match=r"another request \(trials: "):
            destinations[1].claim(second)
    assert SweepRequest.model_validate_json(store.read_bytes("e/tiny/request.json")) == first


def test_a_store_that_fails_on_the_way_is_worth_another_attempt(
    sweep_in: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise StoreError("gone")

    monkeypatch.setattr(sweep, "run_sweep", fail)
    with pytest.raises(Stopped, match="gone; the next attempt goes on") as stopped:
        run_task(task_of(sweep_in().request, str(tmp_path / "bucket")), [])
    assert stopped.value.exit_status == 75


def test_an_attempt_that_was_given_up_too_early_costs_one_attempt(
    sweep_in: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine that was taken for lost stores its lines when its successor has already begun."""
    whole, store = sweep_in(concepts=("fear",)), open_store(str(tmp_path / "bucket"))
    whole.run()
    first = whole.paths.records("fear").read_bytes().splitlines(keepends=True)[0]
    late = json.dumps({**json.loads(first), "timestamp": "2026-01-01T00:00:00+00:00"}).encode() + b"\n"
    begin = Keeping.begin

    def begin_late(self: Keeping, name: str) -> None:
        begin(self, name)
        store.create("e/tiny/fear.jsonl.parts/part-000000000000.jsonl", late)

    with monkeypatch.context() as patch:
        patch.setattr(Keeping, "begin", begin_late)
        with pytest.raises(Stopped, match="two histories") as stopped:
            run_task(task_of(whole.request, store.url, "1/2"), [])
    assert stopped.value.exit_status == 75
    assert read_grown(store, "e/tiny/fear.jsonl") == late, "records of the two are not mixed"
    run_task(task_of(whole.request, store.url, "1/2"), [])
    assert read_grown(store, "e/tiny/fear.jsonl").startswith(late)
    assert stored_lines(store.url, tmp_path / "down")["fear.jsonl"] == whole.content()["fear.jsonl"]


def test_a_store_that_refuses_from_the_first_is_final(
    sweep_in: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place: Place = new_place("gs", tmp_path, monkeypatch)
    monkeypatch.setattr(entry_point, "open_store", lambda url: open_store(url, QUICK))
    with pytest.raises(StoreError, match="not allowed") as refused:
        run_task(task_of(sweep_in().request, place.url.replace("results", "forbidden")), [])
    assert refused.value.exit_status == 7


def test_without_a_gpu_nothing_is_begun(
    sweep_in: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    for name, value in {**variables(sweep_in().request, str(tmp_path / "bucket")), "SWEEP_DEVICE": "cuda"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(InputError, match="no GPU can be used in this container"):
        main([])
    assert not (tmp_path / "bucket").exists()


def test_a_signal_before_the_work_is_heard(
    sweep_in: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables(sweep_in().request, str(tmp_path / "bucket")).items():
        monkeypatch.setenv(name, value)

    def work(*_: object) -> None:
        assert callable(signal.getsignal(signal.SIGTERM)), "the tests themselves would end"
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(entry_point, "run_task", work)
    with pytest.raises(Stopped, match="stopped by SIGTERM") as stopped:
        main([])
    assert stopped.value.exit_status == 75
