"""The app itself, without any network: what is sent, and its functions run in this process."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from experiments.concept_injection import modal_app
from experiments.concept_injection.machines import GPUS
from experiments.concept_injection.request import SweepRequest
from experiments.concept_injection.shipped import LIBRARIES, code_hash, pinned, shipped_files
from experiments.concept_injection.spawn_sweep import APP, FUNCTIONS
from experiments.concept_injection.spawned import Outcome, claim_destination
from interp.errors import InputError
from interp.jsonl import read_lines
from interp.paths import REPOSITORY
from interp.stores import StoreError, open_store, read_grown
from tests.experiments.concept_injection.conftest import Swept

# What `.local()` says of a function with a volume: true, and meant.
pytestmark = pytest.mark.filterwarnings("ignore:The run_.* function is executing locally:UserWarning")

Make = Callable[..., Swept]
CPU = {"device": "cpu", "upload_every": 8}


def call(request: SweepRequest, names: list[str], store: Path, **options: Any) -> Outcome:
    """A function of the app, in this process."""
    answer = modal_app.run_l4.local(request.model_dump_json(), names, str(store), {**CPU, **options})
    return Outcome.model_validate_json(answer)


def stored_lines(store: Path, name: str) -> list[dict[str, Any]]:
    text = read_grown(open_store(str(store)), f"e/tiny/{name}").decode()
    return [{**json.loads(line), "timestamp": None} for line in text.splitlines()]


def test_the_calls_make_what_a_local_sweep_makes(sweep_in: Make, tmp_path: Path) -> None:
    whole, store = sweep_in("whole"), tmp_path / "store"
    whole.run()
    assert call(whole.request, ["control"], store) == Outcome(files=("control",))
    assert not [name for name in open_store(str(store)).list() if "fear" in name or "ocean" in name]
    assert call(whole.request, ["fear", "ocean"], store) == Outcome(files=("fear", "ocean"))
    for name, lines in whole.content().items():
        assert stored_lines(store, name) == [{**line, "timestamp": None} for line in lines]


def test_a_call_goes_on_from_what_another_stored(sweep_in: Make, tmp_path: Path) -> None:
    """What is there stays, to the letter; and two calls in one process share no folder."""
    whole, store = sweep_in("whole"), tmp_path / "store"
    whole.run()
    lines = whole.paths.records("fear").read_bytes().splitlines(keepends=True)
    claim_destination(open_store(str(store)), whole.request)
    open_store(str(store)).create("e/tiny/fear.jsonl.parts/part-000000000000.jsonl", b"".join(lines[:11]))
    before = os.environ.copy()
    assert call(whole.request, ["fear"], store).error is None
    assert os.environ == before
    assert read_grown(open_store(str(store)), "e/tiny/fear.jsonl").startswith(b"".join(lines[:11]))
    assert stored_lines(store, "fear.jsonl") == whole.content()["fear.jsonl"]
    other = whole.request.model_copy(update={"experiment_id": "e2", "trials": 1})
    assert call(other, ["fear"], store).error is None
    text = read_grown(open_store(str(store)), "e2/tiny/fear.jsonl")
    assert len(text.splitlines()) == 12


def test_a_call_judges_where_it_is_asked_to(sweep_in: Make, tmp_path: Path) -> None:
    script, store = tmp_path / "script.json", tmp_path / "store"
    script.write_text(json.dumps({"name": "none", "rules": [], "otherwise": {"coherent": True}}))
    call(sweep_in().request, ["control"], store, judge=f"scripted:{script}")
    (verdicts,) = (store / "e" / "tiny" / "control.verdicts").glob("*.jsonl")
    assert len(list(read_lines(verdicts))) == 3


def test_errors_that_stay_are_told_and_errors_that_pass_are_raised(sweep_in: Make, tmp_path: Path) -> None:
    """What is raised, Modal tries again."""
    wrong = sweep_in(layers=(1, 9)).request
    assert "layers 0 to 3, not 9" in str(call(wrong, ["fear"], tmp_path / "a").error)
    answer = modal_app.run_h100.local('{"experiment_id": "e", "modle": "3b"}', ["fear"], str(tmp_path / "b"), CPU)
    assert "unknown key 'modle'" in json.loads(answer)["error"]
    open_store(str(tmp_path / "c")).create("e/tiny/fear.jsonl.parts/part-000000000009.jsonl", b"{}\n")
    with pytest.raises(StoreError, match="follows on nothing"):
        call(sweep_in().request, ["fear"], tmp_path / "c")


def test_a_secret_brings_google_s_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "before")
    modal_app.use_google_key(tmp_path)
    assert os.environ["GOOGLE_APPLICATION_CREDENTIALS"] == "before", "a secret without it changes nothing"
    monkeypatch.setenv("SERVICE_ACCOUNT_JSON", '{"type": "service_account"}')
    modal_app.use_google_key(tmp_path)
    assert json.loads(Path(os.environ["GOOGLE_APPLICATION_CREDENTIALS"]).read_text()) == {"type": "service_account"}


def test_the_app_has_a_function_for_every_gpu() -> None:
    assert modal_app.APP == APP and set(FUNCTIONS) == set(GPUS)
    for name in FUNCTIONS.values():
        assert callable(getattr(modal_app, name).local)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of what is shipped, with much beside it that is not."""
    folder = tmp_path / "checkout"
    for name, path in shipped_files().items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, folder / name)
    for name in (
        ".env", "interp/.env", "interp/.secret.py", "experiments/concept_injection/first/7b/fear.jsonl",
        "experiments/concept_injection/first/7b/request.json", "experiments/concept_injection/first/7b/spawned.json",
        "experiments/concept_injection/.key.json", "datasets/rubrics/.key.json", "interp/__pycache__/cli.pyc",
        "experiments/planted_quirks/models/base/config.json", "key.json", ".venv/lib/x.py", "interp/.git/x.py",
    ):  # fmt: skip
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("secret")
    return folder


def test_only_what_is_named_is_shipped(checkout: Path) -> None:
    assert list(shipped_files(checkout)) == list(shipped_files())
    assert {"interp/cli.py", "datasets/words/baseline.json", "requirements.txt"} <= set(shipped_files())
    assert all(name == "requirements.txt" or name.startswith(("interp/", "datasets/", "experiments/concept_injection/"))
               for name in shipped_files())  # fmt: skip


def test_the_hash_is_that_of_what_is_shipped(checkout: Path) -> None:
    assert code_hash(checkout) == code_hash(REPOSITORY) == modal_app.code_hash.local()
    path = checkout / "interp" / "cli.py"
    path.write_bytes(path.read_bytes() + b"#")
    changed = code_hash(checkout)
    path.rename(path.with_name("clu.py"))
    assert len({code_hash(), changed, code_hash(checkout)}) == 3


def test_the_image_gets_the_versions_that_are_tested() -> None:
    lines = (REPOSITORY / "requirements.txt").read_text().splitlines()
    assert set(pinned()) <= set(lines) and len(pinned()) == len(LIBRARIES)
    with pytest.raises(InputError, match="no version of abacus"):
        pinned(["torch", "abacus"])
