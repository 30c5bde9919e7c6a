"""The audit end to end on the tiny experiment: what it writes is what plain transformers would give."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer

from interp.activations import load_activations
from interp.config import Experiment
from interp.projections import read_table
from interp.records import Response, read_record
from tests.inference.conftest import Audit
from tests.interruption import differences, hash_tree


def plain_model(audit: Audit, organism: str | None) -> Any:
    """Base and adapter by transformers and peft alone."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    base = AutoModelForCausalLM.from_pretrained(audit.folder / "models" / "base", dtype=torch.float32)
    if organism is None:
        return base.eval()
    return PeftModel.from_pretrained(base, str(audit.folder / "models" / organism)).eval()


def responses_of(audit: Audit, author: str, prompt_set: str = "discovery") -> list[Response]:
    folder = audit.folder / "inference" / author / "responses" / prompt_set
    return [read_record(Response, path) for path in sorted(folder.glob("[!_]*.json"))]


def resid_file(audit: Audit, author: str, reader: str, prompt_id: str, prompt_set: str = "discovery") -> Path:
    return audit.folder / "inference" / author / "activations" / prompt_set / reader / f"{prompt_id}.pt"


def test_every_prompt_has_its_files_by_both_readers(audited: Audit) -> None:
    experiment = Experiment(audited.name, audited.root)
    for author in experiment.audited:
        for name in experiment.config.prompt_sets:
            ids = {prompt.id for prompt in experiment.prompt_set(name).prompts}
            assert {response.id for response in responses_of(audited, author, name)} == ids
            for reader in ("self", "instruct"):
                folder = resid_file(audited, author, reader, "x", name).parent
                assert {path.stem for path in folder.glob("*.pt")} == ids
    assert audited.run("status") == 0


def test_responses_are_those_of_plain_greedy_generation(audited: Audit) -> None:
    """One prompt at a time, no batch, no hooks, no code of ours."""
    organism = audited.organisms()[0]
    model = plain_model(audited, organism)
    for response in responses_of(audited, organism)[:6]:
        prompt = torch.tensor([response.prompt_ids])
        limit = Experiment(audited.name, audited.root).config.sampling.max_new_tokens
        with torch.inference_mode():
            out = model.generate(
                input_ids=prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=limit, do_sample=False,
                pad_token_id=0,
            )[0, prompt.shape[1] :].tolist()
        own = [*response.response_ids, *([] if response.stop_token is None else [response.stop_token])]
        assert own == out


def test_activations_are_the_hidden_states_of_plain_transformers(audited: Audit) -> None:
    experiment = Experiment(audited.name, audited.root)
    organism = audited.organisms()[0]
    for reader, model in (("self", plain_model(audited, organism)), ("instruct", plain_model(audited, None))):
        for response in responses_of(audited, organism)[:4]:
            ids = torch.tensor([[*response.prompt_ids, *response.response_ids]])
            with torch.inference_mode():
                states = model(input_ids=ids, output_hidden_states=True).hidden_states
            stored = load_activations(resid_file(audited, organism, reader, response.id))
            assert stored.token_ids == response.response_ids
            for place, layer in enumerate(experiment.config.layers):
                expected = states[layer + 1][0, len(response.prompt_ids) :]
                torch.testing.assert_close(stored.resid[place].float(), expected, rtol=2e-3, atol=2e-3)  # float16


def test_an_author_that_replays_itself_gives_phase_1_bit_for_bit(done: Audit) -> None:
    organism = done.organisms()[0]
    flags = ("--model-variant", organism, "--reader", organism, "--response-only", "--skip-existing")
    assert done.run("replay", *flags) == 0
    compared = 0
    for response in responses_of(done, organism):
        own = load_activations(resid_file(done, organism, "self", response.id))
        again = load_activations(resid_file(done, organism, organism, response.id))
        clean = load_activations(resid_file(done, organism, "instruct", response.id))
        assert torch.equal(own.resid, again.resid)
        compared += not torch.equal(own.resid, clean.resid)
    assert compared > 0  # the comparison can tell readers apart


def test_a_zero_adapter_gives_zero_difference(fresh: Audit) -> None:
    organism = fresh.organisms()[0]
    adapter = fresh.folder / "models" / organism / "adapter_model.safetensors"
    tensors = load_file(adapter)
    save_file({name: t.zero_() if "lora_B" in name else t for name, t in tensors.items()}, adapter, {"format": "pt"})
    fresh.run("extract")
    only = ("--model-variant", organism)
    fresh.run("generate", *only, "--response-only")
    fresh.run("replay", *only, "--response-only")
    fresh.run("project", *only)
    for response in responses_of(fresh, organism):
        own = load_activations(resid_file(fresh, organism, "self", response.id))
        clean = load_activations(resid_file(fresh, organism, "instruct", response.id))
        assert torch.equal(own.resid, clean.resid)
    paths = Experiment(fresh.name, fresh.root).paths
    own_rows = read_table(paths.projections(organism, "discovery", "self")).to_pylist()
    assert own_rows == read_table(paths.projections(organism, "discovery", "instruct")).to_pylist()


def test_projections_are_a_four_line_loop(audited: Audit) -> None:
    experiment = Experiment(audited.name, audited.root)
    organism = audited.organisms()[1]
    rows = read_table(experiment.paths.projections(organism, "discovery", "instruct")).to_pylist()
    assert len(rows) > 100
    for row in rows[::97]:
        stored = load_activations(resid_file(audited, organism, "instruct", row["prompt_id"]))
        vector = load_file(audited.folder / "vectors" / row["trait"] / f"{row['method']}.safetensors")["directions"]
        v = vector[experiment.config.layers.index(row["layer"])].double().numpy()
        scores = []
        for token in stored.resid[experiment.config.layers.index(row["layer"])].double().numpy():
            scores.append(token @ v / np.linalg.norm(v))
        np.testing.assert_allclose(row["scores"], scores, rtol=1e-4, atol=1e-4)
        assert row["mean"] == pytest.approx(np.mean(scores), rel=1e-4, abs=1e-4)
        null = load_file(audited.folder / "vectors" / row["trait"] / f"{row['method']}.safetensors")["null_directions"]
        pooled = stored.resid[experiment.config.layers.index(row["layer"])].double().numpy().mean(axis=0)
        means = []
        for direction in null[:, experiment.config.layers.index(row["layer"])].double().numpy():
            means.append(pooled @ direction / np.linalg.norm(direction))
        assert len(means) == 16
        np.testing.assert_allclose(row["null_means"], means, rtol=1e-4, atol=1e-4)


def test_two_shards_make_the_tree_of_one_run(fresh: Audit, audited: Audit) -> None:
    fresh.run("extract")
    for shard in ("1/2", "0/2"):
        for phase in ("generate", "replay"):
            fresh.run(phase, "--response-only", "--skip-existing", "--shard", shard)
    for shard in ("0/3", "2/3", "1/3"):
        fresh.run("project", "--skip-existing", "--shard", shard)
    fresh.run("compare")
    fresh.run("top")
    fresh.run("report")
    assert differences(hash_tree(fresh.folder), hash_tree(audited.folder)) == []


def test_new_vectors_are_added_and_nothing_is_computed_twice(done: Audit) -> None:
    experiment = Experiment(done.name, done.root)
    organism = done.organisms()[0]
    path = experiment.paths.projections(organism, "discovery", "self")
    before = read_table(path).to_pylist()
    trait = json.loads((done.folder / "traits" / f"{organism}.json").read_text())
    (done.folder / "traits" / "new_trait.json").write_text(json.dumps({**trait, "name": "new_trait"}))
    done.run("extract", "--skip-existing")
    done.run("project", "--skip-existing")
    after = read_table(path).to_pylist()
    assert [row for row in after if row["trait"] != "new_trait"] == before
    n_traits = len({row["trait"] for row in before})
    assert len(after) == len(before) * (n_traits + 1) // n_traits


def test_json_copies_hold_the_same_scores(done: Audit) -> None:
    organism = done.organisms()[0]
    done.run("project", "--skip-existing", "--json")
    path = Experiment(done.name, done.root).paths.projections(organism, "discovery", "self")
    row = read_table(path).to_pylist()[0]
    copy = json.loads((path.with_suffix("") / row["trait"] / f"{row['prompt_id']}.json").read_text())
    assert row["scores"] in [projection["scores"] for projection in copy["projections"]]


def test_a_conversation_keeps_the_ids_of_its_earlier_replies(fresh: Audit) -> None:
    """Several turns: the second prompt holds the first reply's own ids, and is answered as if it were asked alone."""
    path = fresh.folder / "prompts" / "talk.json"
    single = json.loads((fresh.folder / "prompts" / "discovery.json").read_text())["prompts"]
    asked = [single[0]["text"], single[1]["text"]]
    prompts = [{"id": "talk_1", "turns": asked}, {"id": "one", "text": asked[0]}]
    path.write_text(json.dumps({"name": "talk", "prompts": prompts}))
    organism = fresh.organisms()[0]
    fresh.run("generate", "--prompt-set", "talk", "--model-variant", organism, "--response-only")
    alone, talk = responses_of(fresh, organism, "talk")
    assert [message.role for message in talk.messages] == ["user", "assistant", "user", "assistant"]
    assert talk.messages[1].content == alone.text
    so_far = (*alone.prompt_ids, *alone.response_ids)
    assert talk.prompt_ids[: len(so_far)] == so_far
    end_of_turn = AutoTokenizer.from_pretrained(fresh.folder / "models" / "base").eos_token_id
    assert talk.prompt_ids[len(so_far)] == end_of_turn
    assert "".join(talk.tokens) == talk.text


def test_sampling_does_not_depend_on_the_batch(fresh: Audit) -> None:
    organism = fresh.organisms()[0]
    texts = []
    for size in ("8", "3"):
        flags = ("--temperature", "1.5", "--batch-size", size, "--overwrite", "--response-only")
        fresh.run("generate", "--model-variant", organism, "--prompt-set", "discovery", *flags)
        texts.append({each.id: each.response_ids for each in responses_of(fresh, organism)})
    assert texts[0] == texts[1]
    assert len(set(texts[0].values())) > 3
