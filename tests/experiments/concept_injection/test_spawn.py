"""Deploying, spawning and following, with Modal's real client and command line, on a control plane of ours.

Containers are processes that have what was uploaded and nothing else (tests/modal_server.py); the store is a server.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from experiments.concept_injection.modal_app import SECRETS
from experiments.concept_injection.request import SweepRequest
from experiments.concept_injection.shipped import shipped_files
from experiments.concept_injection.spawned import claim_destination
from interp.errors import InputError, SettingsChanged
from interp.files import write_json
from interp.paths import REPOSITORY
from interp.stores import Retries, Store, StoreError, open_store, read_grown
from tests.experiments.concept_injection.conftest import Swept
from tests.object_stores import FORBIDDEN, free_port, new_place

APP = "experiments.concept_injection.modal_app"
NOTHING: Mapping[str, str] = {}
Make = Callable[..., Swept]


@dataclass(frozen=True)
class Modal:
    """The control plane, and commands that talk to it."""

    folder: Path
    url: str
    environment: dict[str, str] = field(repr=False)

    def run(
        self, *command: str, cwd: Path = REPOSITORY, variables: Mapping[str, str] = NOTHING
    ) -> "subprocess.CompletedProcess[str]":
        environment = {**self.environment, **variables}
        return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=60)

    def cli(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        return self.run(sys.executable, "-m", "modal", *arguments)

    def spawn(
        self, *flags: str, cwd: Path = REPOSITORY, variables: Mapping[str, str] = NOTHING
    ) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-W", "error", "-m", "experiments.concept_injection.spawn_sweep", *flags]
        return self.run(*command, cwd=cwd, variables=variables)

    @property
    def state(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.folder / "state.json").read_text())
        return found


@pytest.fixture(scope="module")
def modal(tmp_path_factory: pytest.TempPathFactory, llama_folder: Path) -> Iterator[Modal]:
    """A control plane that the app is deployed to; its containers find the tiny model on the volume."""
    folder = tmp_path_factory.mktemp("modal")
    with pytest.MonkeyPatch.context() as patch:
        place = new_place("gs", folder, patch)
        command = [sys.executable, "-m", "tests.modal_server", str(folder), str(llama_folder.parent)]
        pipe = subprocess.PIPE
        with subprocess.Popen(command, cwd=REPOSITORY, stdin=pipe, stdout=pipe, text=True) as server:
            assert server.stdout is not None
            address = server.stdout.readline().strip()
            made = Modal(folder, place.url, {**os.environ, **_settings(folder, address)})
            deploy(made)
            yield made
            server.communicate(timeout=20)


def _settings(folder: Path, address: str) -> dict[str, str]:
    tokens = {"MODAL_TOKEN_ID": "ak-x", "MODAL_TOKEN_SECRET": "as-x", "MODAL_CONFIG_PATH": str(folder / "none")}
    return {**tokens, "MODAL_SERVER_URL": address}


def deploy(modal: Modal) -> None:
    """As docs/cloud.md has it: it fails before there are secrets, and works with them."""
    refused = modal.cli("deploy", "-m", APP)
    assert refused.returncode != 0 and "huggingface" in refused.stderr + refused.stdout
    with ThreadPoolExecutor() as pool:
        made = list(pool.map(lambda name: modal.cli("secret", "create", name, "KEY=1"), SECRETS))
    assert [each.returncode for each in made] == [0, 0, 0]
    done = modal.cli("deploy", "-m", APP)
    assert done.returncode == 0, done.stdout + done.stderr


@dataclass(frozen=True)
class Away:
    """A sweep that is to run on Modal."""

    modal: Modal
    swept: Swept

    def spawn(
        self, *flags: str, cwd: Path = REPOSITORY, variables: Mapping[str, str] = NOTHING
    ) -> "subprocess.CompletedProcess[str]":
        swept = self.swept
        places = ["--request", str(swept.request_file), "--root", str(swept.root), "--store", self.modal.url]
        how = ["--gpu", "L4", "--device", "cpu", "--upload-every", "8"]
        return self.modal.spawn(*places, *how, *flags, cwd=cwd, variables=variables)

    @property
    def spawned(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.swept.paths.folder / "spawned.json").read_text())
        return found

    def call_of(self, name: str) -> dict[str, Any]:
        """What the control plane knows of a file's call."""
        (call_id,) = (call["call_id"] for call in self.spawned["calls"] if call["file"] == name)
        found: dict[str, Any] = self.modal.state["calls"][call_id]
        return found

    def wait(self) -> None:
        """Until no container runs any more."""
        while any(self.modal.state["calls"][each["call_id"]]["running"] for each in self.spawned["calls"]):
            time.sleep(0.1)

    @property
    def store(self) -> Store:
        return open_store(self.modal.url)

    def stored(self, name: str) -> bytes:
        return read_grown(self.store, f"{self.swept.request.experiment_id}/tiny/{name}")


@pytest.fixture
def away(modal: Modal, sweep_in: Make, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Away]:
    """Sweeps whose model is a folder of the volume, not of this machine."""
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", modal.environment["STORAGE_EMULATOR_HOST"])

    def make(name: str, **changes: Any) -> Away:
        return Away(modal, sweep_in(name, **{"experiment_id": name, "source": "weights/llama", **changes}))

    return make


def test_what_is_deployed(modal: Modal) -> None:
    functions = modal.state["functions"]
    gpus = {name: each["gpu"] for name, each in functions.items()}
    assert gpus == {
        "run_l4": "L4", "run_a100_40gb": "A100-40GB", "run_a100_80gb": "A100-80GB", "run_h100": "H100", "code_hash": "",
    }  # fmt: skip
    sent = {f"/root/{name}" for name in shipped_files()}
    for name, each in functions.items():
        assert set(each["files"]) == sent, "the code and data of a sweep, and nothing else"
        if name.startswith("run"):
            assert each["single_use"] and each["retries"] == 5 and each["timeout"] == 86_400
            assert any("torch==" in line and "transformers==" in line for line in each["image"])
        assert not re.search(r"pytest|moto|playwright", "".join(each["image"]))


@pytest.mark.slow
def test_a_sweep_on_modal_is_a_local_one(away: Callable[..., Away], sweep_in: Make) -> None:
    """Spawned, its control's container killed half-way and started anew; followed, refused and forced meanwhile."""
    changes = {"control_trials": 200, "concepts": ("fear",)}
    whole = sweep_in("whole", **changes)
    whole.run()
    there = away("e", **changes)
    started = there.spawn()
    assert started.returncode == 0, started.stderr
    assert "GPU-hours" in started.stdout and "--status" in started.stdout and "from memory" in started.stdout
    spawned = there.spawned
    assert (spawned["app"], spawned["store"]) == ("concept-injection", there.modal.url)
    assert re.fullmatch(r"[0-9a-f]{16}", spawned["code_hash"])
    calls = [(each["file"], each["function"], each["gpu"]) for each in spawned["calls"]]
    assert calls == [("control", "run_l4", "L4"), ("fear", "run_l4", "L4")]
    lost = kill_half_way(there)
    there.wait()
    status = there.spawn("--status")
    assert status.returncode == 0 and status.stdout.count(" done ") == 2 and "fear.log_odds.jsonl" in status.stdout
    assert there.call_of("control")["attempts"] == 2 and there.call_of("fear")["attempts"] == 1
    for name, lines in whole.content().items():
        stored = [json.loads(line) for line in there.stored(name).splitlines()]
        assert [same(line) for line in stored] == [same(line) for line in lines]
    assert there.stored("control.jsonl").startswith(lost)
    again = there.spawn()
    assert again.returncode == 2 and "holds 4 files" in again.stderr and "--force" in again.stderr
    forced = there.spawn("--force")
    assert forced.returncode == 0 and "all files are finished" in forced.stdout


def same(line: dict[str, Any]) -> dict[str, Any]:
    """Without what two runs of one sweep may differ in here: when, and where the model lay."""
    config = {**line["config"], "model": ""} if "config" in line else None
    return {**line, "timestamp": "", "config": config}


def kill_half_way(there: Away) -> bytes:
    """End the control's container with SIGKILL once it has stored a part, and before the end; what it had stored.

    Meanwhile it stands still, so that what is said of a running call can be seen.
    """
    while not (parts := [name for name in there.store.list("e/tiny/control.jsonl") if "part-" in name]):
        time.sleep(0.01)
    pid = there.call_of("control")["pid"]
    os.kill(pid, signal.SIGSTOP)
    assert parts and not there.store.exists("e/tiny/control.jsonl"), "stopped too late"
    states = there.spawn("--status")
    assert states.returncode == 0 and "control         running" in states.stdout
    refused = there.spawn("--force")
    assert refused.returncode == 2 and "control" in refused.stderr and "still running" in refused.stderr
    stored = there.stored("control.jsonl")
    os.kill(pid, signal.SIGKILL)
    return stored


def test_calls_that_fail(modal: Modal, away: Callable[..., Away]) -> None:
    """An error that stays is not tried again; one that the code does not know is."""
    there = away("fails")
    code = (
        "import modal, sys; run = modal.Function.from_name('concept-injection', 'run_l4')\n"
        "for text in ('{\"modle\": 1}', '{'): print(run.spawn(text, ['fear'], sys.argv[1], {}).object_id)"
    )
    stays, passes = modal.run(sys.executable, "-c", code, modal.url).stdout.split()
    known = {"function": "run_l4", "gpu": "L4"}
    calls = [{"file": "stays", "call_id": stays, **known}, {"file": "passes", "call_id": passes, **known},
             {"file": "lost", "call_id": "fc-none", **known}]  # fmt: skip
    spawned = {"app": "concept-injection", "store": modal.url, "code_hash": "", "calls": calls}
    write_json(there.swept.paths.folder / "spawned.json", spawned)
    while any(modal.state["calls"][each]["running"] for each in (stays, passes)):
        time.sleep(0.1)
    status = there.spawn("--status")
    assert status.returncode == 1
    assert re.search(r"stays +failed +fc-\d+  .*unknown key 'modle'", status.stdout)
    assert re.search(r"passes +failed +fc-\d+  JSONDecodeError: Expecting property name", status.stdout)
    assert re.search(r"lost +expired +fc-none  .*see what the store holds", status.stdout)
    assert [modal.state["calls"][each]["attempts"] for each in (stays, passes)] == [1, 6]
    unasked = there.spawn("--status", variables={"MODAL_TOKEN_SECRET": ""})
    assert unasked.returncode == 7 and "modal setup" in unasked.stderr and not unasked.stdout


def test_other_code_than_was_deployed_is_refused(away: Callable[..., Away], tmp_path: Path) -> None:
    there, checkout = away("stale"), tmp_path / "checkout"
    for name, path in shipped_files().items():
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, checkout / name)
    with (checkout / "datasets" / "words" / "baseline.json").open("a") as file:
        file.write(" ")
    refused = there.spawn(cwd=checkout)
    assert refused.returncode == 2 and "deploy again: modal deploy -m experiments.concept" in refused.stderr
    assert not there.store.list("stale/") and not there.swept.root.exists()


@pytest.mark.parametrize(
    ("flags", "variables", "status", "said"),
    [
        ([], {}, 2, "--store gs://bucket/prefix"),
        (["--store", "results"], {}, 2, "a folder is lost with its container"),
        (["--store", "gs://bucket/c", "--model", "org/x"], {}, 2, "choose one with --gpu"),
        (["--store", "gs://bucket/c", "--prompt-version", "v9"], {}, 2, "unknown prompt version"),
        (["--store", "gs://bucket/c", "--model", "interp", "--gpu", "L4"], {}, 2, "modal volume put"),
        (["--store", "gs://bucket/c", "--prices", "p.json"], {}, 2, "a file of this machine"),
        (["--status"], {}, 2, "nothing was spawned from here"),
        (["--store", "gs://results/n"], {"MODAL_TOKEN_ID": ""}, 7, "modal setup"),
        (["--store", "gs://no-such-bucket/n"], {}, 7, "no-such-bucket"),
        (["--store", f"gs://{FORBIDDEN}/n"], {}, 7, "403"),
    ],
)
def test_what_is_wrong_is_one_line(
    modal: Modal, tmp_path: Path, flags: list[str], variables: dict[str, str], status: int, said: str
) -> None:
    refused = modal.spawn("--experiment-id", "e", *flags, "--root", str(tmp_path), variables=variables)
    assert refused.returncode == status and said in refused.stderr, refused.stderr
    assert len(refused.stderr.strip().splitlines()) == 1 and not list(tmp_path.iterdir())


def test_an_unreachable_store_is_not_an_empty_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{free_port()}")
    store = open_store("gs://results/unreachable", Retries(attempts=2, first_seconds=0.01))
    with pytest.raises(StoreError, match="failed 2 times"):
        claim_destination(store, SweepRequest(experiment_id="e"), force=True)


def test_nothing_is_spawned_where_nothing_is_deployed(modal: Modal, tmp_path: Path) -> None:
    flags = ["--experiment-id", "e", "--store", modal.url, "--root", str(tmp_path)]
    code = "from experiments.concept_injection import spawn_sweep as s; from interp import cli; s.APP = 'none'"
    refused = modal.run(sys.executable, "-c", f"{code}; import sys; sys.argv[1:] = {flags}; cli.run(s.main)")
    assert refused.returncode == 2 and "modal deploy -m experiments.concept_injection.modal_app" in refused.stderr


def test_the_plan_asks_nobody(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from experiments.concept_injection.spawn_sweep import main

    assert main(["--experiment-id", "e", "--store", "gs://b/c", "--root", str(tmp_path), "--dry-run"]) == 0
    plan = capsys.readouterr().out
    assert "would spawn control, celebration, ocean, fear, silence; each into gs://b/c/e/3b/" in plan
    assert "3b on L4 (24 GB), modal" in plan and "4,900" in plan
    assert not list(tmp_path.iterdir())


def test_a_destination_belongs_to_one_request(tmp_path: Path) -> None:
    """Even by force: a machine that fetches lines cannot tell which request they answer."""
    store = open_store(str(tmp_path / "store"))
    request = SweepRequest(experiment_id="e")
    claim_destination(store, request)
    claim_destination(store, request)
    store.create("e/3b/fear.jsonl.parts/part-000000000000.jsonl", b"{}\n")
    with pytest.raises(InputError, match=r"holds 1 files \(fear.jsonl, …\)"):
        claim_destination(store, request)
    claim_destination(store, request, force=True)
    other = request.model_copy(update={"prompt_version": "v1"})
    with pytest.raises(SettingsChanged, match=r'prompt_version: "v2" -> "v1"'):
        claim_destination(store, other, force=True)
    store.create("e2/3b/fear.jsonl.parts/part-000000000007.jsonl", b"{}\n")
    with pytest.raises(StoreError, match="follows on nothing"):
        claim_destination(store, request.model_copy(update={"experiment_id": "e2"}), force=True)
    store.create("e3/3b/fear.jsonl.parts/part-000000000000.jsonl", b"{}\n")
    with pytest.raises(SettingsChanged, match="nothing says of which request"):
        claim_destination(store, request.model_copy(update={"experiment_id": "e3"}), force=True)
