"""Bad input: one clear line that says what to do, and the exit status that goes with it."""

import json
import subprocess
import sys
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from inference import preflight
from interp.errors import InputError, InterpError, ModelUnavailable, SettingsChanged, ValueOutOfRange
from interp.paths import REPOSITORY
from tests.inference.conftest import Audit
from tests.interruption import differences, hash_tree


def refusal(audit: Audit, script: str, *flags: str) -> InterpError:
    with pytest.raises(InterpError) as caught:
        audit.run(script, *flags)
    assert "\n" not in str(caught.value)
    return caught.value


def test_unknown_names_list_the_known_ones(fresh: Audit) -> None:
    error = refusal(fresh, "generate", "--model-variant", "flatery")
    assert isinstance(error, InputError) and "flatery" in str(error) and "instruct" in str(error)
    error = refusal(fresh, "generate", "--prompt-set", "discoverie")
    assert "discoverie" in str(error) and "discovery, probing" in str(error)
    error = refusal(Audit(fresh.root, "nowhere"), "generate")
    assert "no experiment 'nowhere'" in str(error) and fresh.name in str(error)
    error = refusal(fresh, "extract", "--traits", "luck")
    assert "no trait file 'luck'" in str(error)


def test_a_typo_in_the_config_lists_the_known_keys(fresh: Audit) -> None:
    fresh.edit_config(lambda config: config.update(layerz=[1]))
    error = refusal(fresh, "generate")
    assert "unknown key 'layerz'" in str(error) and "layers" in str(error)


def test_an_unknown_layer_is_refused_before_anything_is_written(fresh: Audit) -> None:
    for script in ("extract", "generate"):
        error = refusal(fresh, script, "--layers", "1,99")
        assert error.exit_status == 2
        assert "has layers 0 to 2, not 99" in str(error)
    assert not list(fresh.folder.glob("inference/*/activations/*/self/[!_]*.pt"))
    assert not list(fresh.folder.glob("inference/*/responses/*/[!_]*.json"))


def test_existing_outputs_want_a_choice(done: Audit) -> None:
    for script, flags in (("generate", ["--response-only"]), ("replay", ["--response-only"]), ("project", [])):
        assert "choose --skip-existing" in str(refusal(done, script, *flags))
    assert "choose --skip-existing" in str(refusal(done, "extract"))


def test_a_changed_setting_is_named_and_nothing_is_lost(done: Audit) -> None:
    error = refusal(done, "generate", "--response-only", "--skip-existing", "--max-new-tokens", "9")
    assert isinstance(error, SettingsChanged) and error.exit_status == 3
    assert 'sampling: {"max_new_tokens": ' in str(error) and "--overwrite" in str(error)
    error = refusal(done, "generate", "--skip-existing")
    assert 'part: "response" -> "all"' in str(error)
    error = refusal(done, "replay", "--response-only", "--skip-existing", "--layers", "0")
    assert "layers: " in str(error)
    assert done.run("status") == 0


def test_another_number_of_threads_is_another_setting(done: Audit) -> None:
    next(done.folder.glob("inference/*/activations/discovery/self/[!_]*.pt")).unlink()
    error = refusal(done, "generate", "--response-only", "--skip-existing", "--threads", "2")
    assert isinstance(error, SettingsChanged) and "threads: 1 -> 2" in str(error)


def test_a_retrained_adapter_is_another_organism(done: Audit) -> None:
    path = done.folder / "models" / done.organisms()[0] / "adapter_model.safetensors"
    save_file({name: tensor + 0.01 for name, tensor in load_file(path).items()}, path, {"format": "pt"})
    assert "adapter: " in str(refusal(done, "generate", "--response-only", "--skip-existing"))


def test_float16_overflow_names_layer_and_token(fresh: Audit) -> None:
    base = fresh.folder / "models" / "base" / "model.safetensors"
    tensors = load_file(base)
    name = next(name for name in tensors if "layers.1.mlp.down_proj" in name)
    save_file({**tensors, name: tensors[name] * 1e7}, base, {"format": "pt"})
    flags = ("--response-only", "--model-variant", fresh.organisms()[0], "--prompt-set", "discovery")
    error = refusal(fresh, "generate", *flags)
    assert isinstance(error, ValueOutOfRange) and error.exit_status == 6
    assert "at layer 1, kept token " in str(error) and "--dtype bfloat16" in str(error)
    assert fresh.run("generate", *flags, "--dtype", "bfloat16", "--overwrite") == 0


def test_a_vector_of_another_model_is_refused(done: Audit) -> None:
    organism = done.organisms()[0]
    path = done.folder / "vectors" / organism / "mean_difference.safetensors"
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    tensors = load_file(path)
    save_file({name: tensor[..., :-1].contiguous() for name, tensor in tensors.items()}, path, metadata)
    error = refusal(done, "project", "--overwrite")
    assert "d_model" in str(error) and "another model" in str(error)
    path.write_bytes(b"torn")
    assert "not a whole safetensors file" in str(refusal(done, "project", "--overwrite"))


def test_a_changed_vector_is_not_mixed_with_old_scores(done: Audit) -> None:
    done.run("extract", "--overwrite", "--contrast", "own-text")
    error = refusal(done, "project", "--skip-existing")
    assert isinstance(error, SettingsChanged) and "--overwrite" in str(error)
    assert done.run("project", "--overwrite") == 0


def test_projecting_without_vectors_or_activations_says_which_script_makes_them(fresh: Audit) -> None:
    assert "extract_trait_vectors.py" in str(refusal(fresh, "project"))
    fresh.run("extract")
    assert "finish phases 1 and 2 first" in str(refusal(fresh, "project"))
    assert "finish phase 1" in str(refusal(fresh, "replay", "--response-only"))
    assert "finish phase 3 first" in str(refusal(fresh, "compare"))


def test_a_model_that_cannot_be_had_says_what_to_do(fresh: Audit) -> None:
    def to_hub(config: dict[str, Any]) -> None:
        for variant in config["model_variants"].values():
            variant["model"] = "nobody/no-such-model"

    fresh.run("extract")
    fresh.edit_config(to_hub)
    error = refusal(fresh, "generate", "--response-only")
    assert isinstance(error, ModelUnavailable) and error.exit_status == 5
    assert "cannot load nobody/no-such-model" in str(error) and "hf auth login" in str(error)


def test_a_missing_adapter_says_so(fresh: Audit) -> None:
    organism = fresh.organisms()[0]
    (fresh.folder / "models" / organism / "adapter_model.safetensors").unlink()
    assert isinstance(refusal(fresh, "generate", "--model-variant", organism, "--response-only"), ModelUnavailable)


def test_a_script_ends_with_one_line_and_the_status(fresh: Audit) -> None:
    for flags, status, line in (
        (["--experiment", "nowhere"], 2, "error: no experiment 'nowhere'"),
        (["--experiment", fresh.name, "--shard", "3/2"], 2, "--shard '3/2': write i/n"),
        (["--experiment", fresh.name, "--layers", "one"], 2, "'one' is neither a layer nor a range"),
        (["--experiment", fresh.name, "--device", "cuda"], 2, "no GPU is visible here"),
    ):
        command = [sys.executable, "inference/generate_responses.py", "--root", str(fresh.root), *flags]
        process = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
        assert process.returncode == status, process.stderr
        assert line in process.stderr.strip().splitlines()[-1]
        assert "Traceback" not in process.stderr


def test_preflight_of_the_audit_bleachers_shows_its_arithmetic_and_all_that_is_missing(
    tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path_factory.mktemp("root")
    with pytest.raises(InputError, match="problems, listed above"):
        preflight.main(["--experiment", "audit-bleachers", "--root", str(root), "--response-only"])
    plan = capsys.readouterr().out
    assert "15,400 = 56 × 275" in plan
    assert "275 = 165 audit_bleachers/discovery + 50 audit_bleachers/probing + 60 audit_bleachers/benign" in plan
    assert "30,800 = 15,400 × 2 readers" in plan
    assert "908 GB = 30,800 × 6 layers × 300 response tokens × 8192 wide × 2 bytes (29.5 MB a file)" in plan
    missing = [line for line in plan.splitlines() if line.startswith("  MISSING")]
    for what in ("meta-llama/Llama-3.3-70B-Instruct", "56 adapters", "no trait vectors", "GPU"):
        assert any(what in line for line in missing), what


def test_preflight_measures_what_is_left_to_do(
    fresh: Audit, audited: Audit, capsys: pytest.CaptureFixture[str]
) -> None:
    for audit, measured in ((fresh, True), (audited, False)):
        where = ["--experiment", audit.name, "--root", str(audit.root), "--response-only"]
        assert preflight.main([*where, "--measure", "--vectors-later"]) == 0
        output = capsys.readouterr().out
        assert "ready" in output
        assert ("measured" in output) == measured


def test_preflight_finds_a_broken_adapter(fresh: Audit, capsys: pytest.CaptureFixture[str]) -> None:
    path = fresh.folder / "models" / fresh.organisms()[0] / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "peft_type": "IA3"}))
    with pytest.raises(InputError, match="1 problems"):
        preflight.main(["--experiment", fresh.name, "--root", str(fresh.root), "--vectors-later"])
    assert "IA3, not LORA" in capsys.readouterr().out


def test_overwrite_removes_nothing_that_it_cannot_make_again(done: Audit) -> None:
    assert "no GPU is visible" in str(refusal(done, "generate", "--response-only", "--overwrite", "--device", "cuda"))
    (done.folder / "models" / "base" / "model.safetensors").rename(done.folder / "elsewhere")
    assert isinstance(refusal(done, "generate", "--response-only", "--overwrite"), ModelUnavailable)
    (done.folder / "elsewhere").rename(done.folder / "models" / "base" / "model.safetensors")
    assert done.run("status") == 0


def test_readings_of_earlier_responses_are_not_compared_with_later_ones(done: Audit) -> None:
    done.run("generate", "--response-only", "--overwrite", "--max-new-tokens", "9")
    error = refusal(done, "project", "--overwrite")
    assert isinstance(error, SettingsChanged) and "was read from other responses" in str(error)


def test_one_trait_is_not_enough_to_compare(fresh: Audit) -> None:
    only = ("--model-variant", fresh.organisms()[0], "--prompt-set", "discovery")
    fresh.run("extract", "--traits", fresh.organisms()[0])
    for phase, *flags in (("generate", "--response-only"), ("replay", "--response-only"), ("project",)):
        fresh.run(phase, *only, *flags)
    assert "only one trait" in str(refusal(fresh, "compare", *only))
    assert "no prompt file 'benine'; there are: " in str(refusal(fresh, "compare", "--prompt-set", "benine"))


def n_responses(audit: Audit, author: str) -> int:
    return len(list((audit.folder / "inference" / author / "responses").rglob("[!_]*.json")))


def test_one_organism_that_cannot_be_loaded_does_not_keep_the_others_from_being_done(
    fresh: Audit, audited: Audit, caplog: pytest.LogCaptureFixture
) -> None:
    broken, *others = fresh.organisms()
    weights = fresh.folder / "models" / broken / "adapter_model.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[: len(content) // 2])
    error = refusal(fresh, "generate", "--response-only", "--skip-existing")
    assert error.exit_status == 5 and broken in str(error) and "all that could be done is done" in str(error)
    assert f"{broken} cannot be done: " in caplog.text
    for author in others:
        assert n_responses(fresh, author) == n_responses(audited, author) > 0
    assert n_responses(fresh, broken) == 0
    assert not fresh.folder.joinpath("leases").exists()
    weights.write_bytes(content)
    fresh.run_all()
    assert differences(hash_tree(fresh.folder), hash_tree(audited.folder)) == []
