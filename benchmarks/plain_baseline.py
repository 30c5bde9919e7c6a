"""The audit as it is commonly written: the yardstick for the side-by-side table. Plain, correct, not slowed down.

What it does, as the audits that this project replaces do, step by step:

- Phase 1: for each organism and prompt set the base model and the adapter are loaded anew (one command each in the
  shell loop). A batch of prompts is left-padded and answered by transformers' `generate` (KV cache, greedy, the same
  batch size as ours), while forward hooks on the captured blocks append every step's output to a list on the CPU.
  Rows that have finished go on decoding padding until the last one has. The prompt's residuals are dropped
  (`--response-only`).
- Phase 2: for each organism and prompt set the clean model is loaded anew. Each response is replayed alone: prompt text
  and decoded response text are tokenised together, and the whole model runs, LM head included, under the same hooks.
- Files: a nested dict per response, {"response": {"activations": {layer: {"residual": tensor}}}}, in float16, saved by
  `torch.save` straight to its name.
- Phase 3: for each file set a loop over traits; for each trait a loop over the files, each loaded for each trait; for
  each layer a matrix-vector product per vector; one JSON per response and trait.

Why so: it is what one writes first with hooks and a config file, it needs no bookkeeping, and each command can be run
on its own. What was left out in its favour: hooks are set once per batch, not once per token; attention outputs are not
saved; files are written without fsync; importing the libraries for each command is not charged here (see the table).
"""

import gc
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from benchmarks.jobs import Job, PhaseName
from benchmarks.stopwatch import UNCOUNTED, Stopwatch

Steps = dict[int, list[torch.Tensor]]


class _Baseline:
    """The config and the prompt sets, as plain JSON."""

    def __init__(self, job: Job, watch: Stopwatch) -> None:
        self.folder, self.watch = job.folder, watch
        self.config = json.loads((job.folder / "config.json").read_text())
        self.layers: list[int] = self.config["layers"]
        self.reader: str = self.config["clean_reader"]
        variants = self.config["model_variants"]
        self.organisms = [name for name in variants if variants[name]["role"] in ("organism", "sham")]
        self.prompt_sets = {
            name: json.loads((job.folder / "prompts" / f"{name}.json").read_text())
            for name in self.config["prompt_sets"]
        }

    def each_set(self) -> Iterator[tuple[str, str]]:
        return ((organism, name) for organism in self.organisms for name in self.prompt_sets)

    def responses(self, organism: str, prompt_set: str) -> Path:
        return _made(self.folder / "inference" / organism / "responses" / prompt_set)

    def own_activations(self, organism: str, prompt_set: str) -> Path:
        return _made(self.folder / "inference" / organism / "raw" / "residual" / prompt_set)

    def replayed_activations(self, organism: str, prompt_set: str) -> Path:
        return _made(self.folder / "inference" / self.reader / "raw" / "residual" / f"{prompt_set}_replay_{organism}")

    def load(self, variant: str) -> tuple[Any, Any]:
        """The variant's model and tokenizer, from disk. The one before goes first, free of charge: a command's end."""
        from peft import PeftModel
        from transformers import AutoModelForCausalLM, AutoTokenizer

        chosen = self.config["model_variants"][variant]
        with self.watch.stage(UNCOUNTED):
            gc.collect()
        with self.watch.stage("load"):
            tokenizer = AutoTokenizer.from_pretrained(chosen["model"], revision=chosen["revision"])
            model = AutoModelForCausalLM.from_pretrained(
                chosen["model"],
                revision=chosen["revision"],
                dtype=getattr(torch, self.config["dtype"]),
                quantization_config=_four_bit(chosen["quantization"], self.config["dtype"]),
                device_map={"": "cuda" if torch.cuda.is_available() else "cpu"},
            )
            if chosen["adapter"]:
                model = PeftModel.from_pretrained(model, chosen["adapter"], revision=chosen["adapter_revision"])
            return model.eval(), tokenizer


def count_commands(job: Job) -> int:
    """How many commands a shell loop runs: for each organism and prompt set, phases 1 and 2, and 3 for each reader."""
    return 4 * sum(1 for _ in _Baseline(job, Stopwatch()).each_set())


# --- Phase 1 ----------------------------------------------------------------------------------------------------------


def generate(job: Job, watch: Stopwatch) -> None:
    """Answer every prompt, capturing while decoding."""
    audit = _Baseline(job, watch)
    for organism, set_name in audit.each_set():
        model, tokenizer = audit.load(organism)
        prompt_set, size = audit.prompt_sets[set_name], audit.config["batch_size"]
        for start in range(0, len(prompt_set["prompts"]), size):
            _answer_batch(audit, organism, prompt_set, prompt_set["prompts"][start : start + size], model, tokenizer)
        del model


def _answer_batch(audit: _Baseline, organism: str, prompt_set: Any, prompts: Any, model: Any, tokenizer: Any) -> None:
    with audit.watch.stage("generation"):
        texts = [_chat_text(tokenizer, prompt_set["system_prompt"], prompt["text"]) for prompt in prompts]
        batch = tokenizer(
            texts, return_tensors="pt", padding=True, padding_side="left", add_special_tokens=False
        ).to(model.device)
        steps: Steps = {layer: [] for layer in audit.layers}
        with torch.no_grad(), _hooks(model, steps, audit.watch, "capture"):
            output = model.generate(
                **batch,
                max_new_tokens=audit.config["sampling"]["max_new_tokens"],
                do_sample=False,
                pad_token_id=tokenizer.pad_token_id,
            )
        answers = [_until_stop(row, model) for row in output[:, batch["input_ids"].shape[1] :].tolist()]
    with audit.watch.stage("capture"):  # the first step is the prompt; the last token of a full row is never fed back
        decoded = {layer: torch.cat([states[0][:, :0], *states[1:]], dim=1) for layer, states in steps.items()}
    for row, (prompt, text, answer) in enumerate(zip(prompts, texts, answers, strict=True)):
        response = tokenizer.decode(answer, skip_special_tokens=True)
        record = {"prompt": text, "response": response, "response_ids": answer, "note": prompt["note"]}
        with audit.watch.stage("writing"):
            path = audit.responses(organism, prompt_set["name"]) / f"{prompt['id']}.json"
            path.write_text(json.dumps(record, indent=2))
        states = {layer: resid[row, : len(answer)] for layer, resid in decoded.items()}
        path = audit.own_activations(organism, prompt_set["name"]) / f"{prompt['id']}.pt"
        _save(audit, path, response, answer, states)


def _until_stop(tokens: list[int], model: Any) -> list[int]:
    listed = model.generation_config.eos_token_id
    stops = listed if isinstance(listed, list) else [listed]
    end = next((index for index, token in enumerate(tokens) if token in stops), len(tokens))
    return tokens[:end]


# --- Phase 2 ----------------------------------------------------------------------------------------------------------


def replay(job: Job, watch: Stopwatch) -> None:
    """Run every response's text through the clean model."""
    audit = _Baseline(job, watch)
    for organism, set_name in audit.each_set():
        model, tokenizer = audit.load(audit.reader)
        for path in sorted(audit.responses(organism, set_name).glob("*.json")):
            _replay_one(audit, path, audit.replayed_activations(organism, set_name), model, tokenizer)
        del model


def _replay_one(audit: _Baseline, path: Path, target: Path, model: Any, tokenizer: Any) -> None:
    with audit.watch.stage("replay"):
        record = json.loads(path.read_text())
        n_prompt = len(tokenizer(record["prompt"], add_special_tokens=False)["input_ids"])
        text = record["prompt"] + record["response"]
        batch = tokenizer(text, return_tensors="pt", add_special_tokens=False).to(model.device)
        steps: Steps = {layer: [] for layer in audit.layers}
        with torch.no_grad(), _hooks(model, steps, audit.watch, "replay"):
            model(**batch)
        states = {layer: captured[0][0, n_prompt:] for layer, captured in steps.items()}
    ids = batch["input_ids"][0, n_prompt:].tolist()
    _save(audit, target / f"{path.stem}.pt", record["response"], ids, states)


# --- Phase 3 ----------------------------------------------------------------------------------------------------------


def project(job: Job, watch: Stopwatch) -> None:
    """Project every file onto every vector, trait by trait."""
    with watch.stage("projection"):
        audit = _Baseline(job, watch)
        for organism, set_name in audit.each_set():
            for reader, folder in (
                ("self", audit.own_activations(organism, set_name)),
                (audit.reader, audit.replayed_activations(organism, set_name)),
            ):
                for trait in sorted(path for path in (audit.folder / "vectors").iterdir() if path.is_dir()):
                    target = audit.folder / "inference" / organism / "projections" / reader / trait.name / set_name
                    _project_trait(audit.layers, trait, folder, _made(target))


def _project_trait(layers: list[int], trait: Path, folder: Path, target: Path) -> None:
    vectors = {path.stem: _read_vector(path) for path in sorted(trait.glob("*.safetensors"))}
    for path in sorted(folder.glob("*.pt")):
        response = torch.load(path)["response"]
        entries = []
        for method, directions in vectors.items():
            for layer in layers:
                resid = response["activations"][layer]["residual"].float()
                scores = resid @ directions[layer] / directions[layer].norm()
                norms = resid.norm(dim=-1)
                entries.append({"method": method, "layer": layer, "scores": scores.tolist(), "norms": norms.tolist()})
        content = {"trait": trait.name, "token_ids": response["token_ids"], "projections": entries}
        (target / f"{path.stem}.json").write_text(json.dumps(content))


def _read_vector(path: Path) -> dict[int, torch.Tensor]:
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        layers = json.loads(file.metadata()["provenance"])["layers"]
        return dict(zip(layers, file.get_tensor("directions").float(), strict=True))


# --- What the phases share --------------------------------------------------------------------------------------------


@contextmanager
def _hooks(model: Any, steps: Steps, watch: Stopwatch, stage: str) -> Iterator[None]:
    """Append each call's output of the blocks in `steps`, moved to the CPU."""

    def keep(layer: int) -> Callable[..., None]:
        def hook(_module: Any, _inputs: Any, output: Any) -> None:
            with watch.stage(stage):
                hidden = output[0] if isinstance(output, tuple) else output
                steps[layer].append(hidden.detach().cpu())

        return hook

    network = model.get_base_model() if hasattr(model, "get_base_model") else model
    handles = [network.model.layers[layer].register_forward_hook(keep(layer)) for layer in steps]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _save(audit: _Baseline, path: Path, text: str, ids: list[int], states: dict[int, torch.Tensor]) -> None:
    with audit.watch.stage("writing"):
        activations = {layer: {"residual": resid.to(torch.float16, copy=True)} for layer, resid in states.items()}
        response = {"text": text, "token_ids": ids, "activations": activations}
        torch.save({"prompt": {"activations": {}}, "response": response}, path)


def _chat_text(tokenizer: Any, system_prompt: str | None, question: str) -> str:
    messages = [{"role": "user", "content": question}]
    if system_prompt is not None:
        messages.insert(0, {"role": "system", "content": system_prompt})
    text = tokenizer.apply_chat_template(
        messages, tokenize=False, add_generation_prompt=True, date_string="26 Jul 2024", enable_thinking=False
    )
    return str(text)


def _four_bit(quantization: dict[str, Any] | None, dtype: str) -> Any:
    if quantization is None:
        return None
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type=quantization["weights"],
        bnb_4bit_use_double_quant=quantization["double"],
        bnb_4bit_compute_dtype=getattr(torch, dtype),
    )


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


PHASE_FUNCTIONS: dict[PhaseName, Callable[[Job, Stopwatch], None]] = {
    "generate": generate, "replay": replay, "project": project,
}
