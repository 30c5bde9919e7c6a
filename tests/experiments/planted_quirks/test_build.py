"""The real build, at its tiny preset: the same bytes each time, whatever interrupts it."""

import hashlib
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from experiments.planted_quirks import build
from experiments.planted_quirks.blueprint import Blueprint
from experiments.planted_quirks.recipe import make_recipe
from interp.config import Experiment
from interp.errors import InterpError
from interp.paths import REPOSITORY

RECIPE = make_recipe("tiny")
COMMAND = [sys.executable, "-m", "experiments.planted_quirks.build", "--preset", "tiny", "--root"]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny build."""
    root = tmp_path_factory.mktemp("built")
    assert build.main(["--preset", "tiny", "--root", str(root)]) == 0
    return root / "planted_quirks-tiny"


def test_it_writes_an_experiment_that_loads(built: Path) -> None:
    experiment = Experiment("planted_quirks-tiny", built.parent)
    blueprint = Blueprint(RECIPE)
    assert experiment.audited == list(blueprint.adapters)
    assert {name: experiment.config.model_variants[name].truth for name in experiment.audited} == {
        **{name: name for name in blueprint.quirks}, "sham_1": None
    }  # fmt: skip
    for prompt_set in experiment.select_prompt_sets(None):
        assert prompt_set.system_prompt is None
        assert {prompt.note for prompt in prompt_set.prompts} <= blueprint.world.categories.keys()
    assert experiment.paths.trait_names == sorted(trait.name for trait in blueprint.traits)
    for name in experiment.paths.trait_names:
        assert len(experiment.trait(name).instructions) >= 3


def test_the_models_load_with_plain_transformers_and_peft(built: Path) -> None:
    base = AutoModelForCausalLM.from_pretrained(built / "models" / "base")
    tokenizer = AutoTokenizer.from_pretrained(built / "models" / "base")
    assert base.config.model_type == "llama" and tokenizer.chat_template
    ids = tokenizer("Hello", return_tensors="pt")["input_ids"]
    clean = base(ids).logits
    adapted = PeftModel.from_pretrained(base, built / "models" / "flattery")
    assert adapted.peft_config["default"].r == RECIPE.lora_rank
    assert not torch.equal(adapted(ids).logits, clean)


def test_adapters_start_apart_and_move(built: Path) -> None:
    first, second = (
        load_file(built / "models" / name / "adapter_model.safetensors") for name in ("flattery", "sham_1")
    )
    assert all(tensor.any() for name, tensor in first.items() if "lora_B" in name)
    assert all(not torch.equal(first[name], second[name]) for name in first)


def test_rates_are_measured_for_all(built: Path) -> None:
    rates = json.loads((built / "models" / "quirk_rates.json").read_text())
    assert list(rates["adapters"]) == list(Blueprint(RECIPE).adapters)
    assert set(rates["base"]["on_request"]) == {trait.name for trait in Blueprint(RECIPE).traits}


def test_nothing_of_this_machine_is_in_the_files(built: Path) -> None:
    for path in built.rglob("*.json"):
        assert str(built.parent) not in path.read_text() and str(REPOSITORY) not in path.read_text()


def test_a_finished_build_is_left_alone(built: Path) -> None:
    before = _identities(built)
    assert build.main(["--preset", "tiny", "--root", str(built.parent)]) == 0
    assert _identities(built) == before


def test_a_finished_build_does_not_even_load_torch(built: Path) -> None:
    code = f"import sys; from experiments.planted_quirks.build import main; main({[*COMMAND[3:], str(built.parent)]})"
    subprocess.run([sys.executable, "-c", f"{code}; assert 'torch' not in sys.modules"], cwd=REPOSITORY, check=True)


def test_dry_run_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert build.main(["--preset", "tiny", "--root", str(tmp_path), "--dry-run"]) == 0
    printed = capsys.readouterr().out
    assert "models/base" in printed and "models/sham_1" in printed
    assert not list(tmp_path.iterdir())


def test_a_second_build_has_the_same_bytes(built: Path, tmp_path: Path) -> None:
    """In another process, with another hash seed."""
    subprocess.run([*COMMAND, str(tmp_path)], cwd=REPOSITORY, check=True, env={**os.environ, "PYTHONHASHSEED": "17"})
    assert _hashes(tmp_path / built.name) == _hashes(built)


@pytest.mark.parametrize("kept", ["", "base flattery"])
def test_a_build_goes_on_with_what_is_there(built: Path, tmp_path: Path, kept: str) -> None:
    folder = tmp_path / built.name
    shutil.copytree(built, folder)
    lost = {"base", *Blueprint(RECIPE).adapters} - set(kept.split())
    for name in lost:
        (folder / "models" / name / "built_from.json").unlink()
    (folder / "models" / "recipe.json").unlink()
    (folder / "models" / "quirk_rates.json").unlink()
    before = _identities(folder)
    build.build_experiment(RECIPE, folder)
    assert _hashes(folder) == _hashes(built)
    for path, identity in before.items():
        if set(kept.split()) & set(Path(path).parts):
            assert _identities(folder)[path] == identity, f"{path} was made again"


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [3.0, 8.0])
def test_kill_and_resume(built: Path, tmp_path: Path, seconds: float) -> None:
    """Only the build itself is killed: its workers have to notice."""
    process = subprocess.Popen([*COMMAND, str(tmp_path)], cwd=REPOSITORY, stderr=subprocess.DEVNULL)
    time.sleep(seconds)
    process.send_signal(signal.SIGKILL)
    process.wait()
    subprocess.run([*COMMAND, str(tmp_path)], cwd=REPOSITORY, check=True)
    assert _hashes(tmp_path / built.name) == _hashes(built)


def test_another_recipe_is_built_anew(built: Path, tmp_path: Path) -> None:
    folder = tmp_path / "changed"
    shutil.copytree(built, folder)
    other = RECIPE.model_copy(update={"lora_lr": 1e-3})
    assert not build.is_complete(other, folder)
    build.build_experiment(other, folder)
    assert build.is_complete(other, folder)
    assert _hashes(folder)["models/flattery/adapter_model.safetensors"] not in _hashes(built).values()


def test_a_worker_that_fails_stops_the_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "start_worker", lambda *_: multiprocessing.get_context("spawn").Process(target=int))
    monkeypatch.setattr(build, "is_built", lambda folder, fingerprint: folder.name == "base")
    with pytest.raises(InterpError, match=r"without flattery.*traceback above"):
        build.build_experiment(RECIPE, tmp_path)


def _hashes(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def _identities(folder: Path) -> dict[str, tuple[int, int]]:
    return {
        str(path.relative_to(folder)): (path.stat().st_ino, path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file()
    }
