"""What preflight looks at: model, adapters, credentials, vectors, disk. Collects problems; raises none."""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from inference.model_cost import GPU_BORDER_BYTES, GPU_ROOM, gpu_shortage, wants_gpu
from inference.plan import Plan
from interp.config import AdapterSpec, Experiment
from interp.errors import InputError
from interp.files import free_bytes, human_bytes
from interp.vector_store import list_vectors, load_checked

_REASON = 160


@dataclass
class Findings:
    """Problems stop the night; notes are worth knowing."""

    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def check_model(experiment: Experiment, plan: Plan, findings: Findings, gpu_gb: float | None = None) -> None:
    """Every base that the authors and the reader stand on: there, and of the declared shape; and the GPU's memory.

    Args:
        gpu_gb: memory of a cluster's GPU, in place of this machine's.
    """
    names = [*plan.authors, experiment.config.clean_reader]
    bases = {experiment.base_spec(name) for name in names}
    if len(bases) > 1:
        findings.notes.append(f"{len(bases)} different bases: each worker loads every one that its organisms need")
    for base in sorted(bases, key=lambda spec: spec.model):
        config = _read_config(base.model, base.revision, "config.json", findings)
        declared = experiment.config.shape
        if config is None or declared is None:
            continue
        text = config.get("text_config", config)
        found = (text.get("num_hidden_layers"), text.get("hidden_size"))
        if found != (declared.n_layers, declared.d_model):
            findings.problems.append(f"{base.model} has (layers, width) {found}, config.json's `shape` says otherwise")
    if gpu_gb is None:
        _check_memory(plan, findings)
    else:
        _check_cluster_memory(experiment, plan, gpu_gb, findings)


def check_adapters(experiment: Experiment, authors: Sequence[str], findings: Findings) -> None:
    """Every adapter: there, a LoRA, made for this base."""
    ranks: dict[int, int] = {}
    unreachable: list[str] = []
    for author in authors:
        adapter = experiment.adapter_spec(author)
        if adapter is None:
            continue
        before = len(findings.problems)
        content = _read_adapter(adapter, findings)
        if content is None:
            unreachable += findings.problems[before:]
            del findings.problems[before:]
            continue
        _check_adapter(experiment, author, content, findings)
        ranks[content.get("r", 0)] = ranks.get(content.get("r", 0), 0) + 1
    if unreachable:
        findings.problems.append(f"{len(unreachable)} adapters cannot be read; the first: {unreachable[0]}")
    if ranks:
        counted = ", ".join(f"{count} of rank {rank}" for rank, count in sorted(ranks.items()))
        findings.notes.append(f"adapters: {counted}")


def check_vectors(experiment: Experiment, plan: Plan, needed: bool, findings: Findings) -> None:
    """Trait vectors: there, with the layers and the width that will be projected on."""
    paths = list_vectors(experiment.paths.vectors)
    if not paths:
        what = f"no trait vectors in {experiment.paths.vectors} (inference/extract_trait_vectors.py makes them)"
        (findings.problems if needed else findings.notes).append(what)
        return
    try:
        vectors = load_checked(paths, plan.layers, plan.d_model)
    except InputError as error:
        findings.problems.append(str(error))
        return
    findings.notes.append(f"trait vectors: {len(vectors)} ({len({vector.trait for vector in vectors})} traits)")


def check_disk(experiment: Experiment, plan: Plan, findings: Findings) -> None:
    """Room for all activation files, counting those that are there already."""
    target = experiment.paths.inference
    there = sum(path.stat().st_size for path in target.rglob("*.pt")) if target.is_dir() else 0
    needed, free = max(plan.most_bytes - there, 0), free_bytes(target)
    if needed > free:
        findings.problems.append(
            f"disk: up to {human_bytes(needed)} still to write, {human_bytes(free)} free at {experiment.paths.root}: "
            f"{human_bytes(needed - free)} missing; set --root or $INTERP_ROOT to a larger disk, or keep fewer layers"
        )
    else:
        findings.notes.append(f"disk: up to {human_bytes(needed)} still to write, {human_bytes(free)} free")


def _check_memory(plan: Plan, findings: Findings) -> None:
    import torch

    if plan.weight_bytes is None:
        return
    if torch.cuda.is_available():
        free, _ = torch.cuda.mem_get_info()
        if plan.weight_bytes * GPU_ROOM > free:
            findings.problems.append(
                f"GPU: the weights need {human_bytes(plan.weight_bytes)} and room to work, {human_bytes(free)} are free"
            )
    elif plan.weight_bytes > GPU_BORDER_BYTES:
        findings.problems.append(f"GPU: none is visible, and {human_bytes(plan.weight_bytes)} of weights want one")
    else:
        findings.notes.append("GPU: none is visible; this runs on the CPU")


def _check_cluster_memory(experiment: Experiment, plan: Plan, gpu_gb: float, findings: Findings) -> None:
    shortage = gpu_shortage(experiment, plan, gpu_gb)
    if shortage:
        findings.problems.append(shortage)
    elif wants_gpu(experiment, plan):
        findings.notes.append(f"GPU: {human_bytes(plan.weight_bytes or 0.0)} of weights on one of {gpu_gb:g} GB")
    elif plan.weight_bytes is not None:
        findings.notes.append("GPU: none is asked for; this runs on the CPU")


def _read_adapter(adapter: AdapterSpec, findings: Findings) -> dict[str, Any] | None:
    return _read_config(adapter.adapter, adapter.revision, "adapter_config.json", findings)


def _check_adapter(experiment: Experiment, author: str, content: dict[str, Any], findings: Findings) -> None:
    if content.get("peft_type") != "LORA":
        findings.problems.append(f"{author}: its adapter is {content.get('peft_type')}, not LORA")
    wanted = experiment.config.model_variants[author].model
    made_for = str(content.get("base_model_name_or_path") or "")
    if "/" in wanted and not wanted.startswith((".", "/")) and made_for.lower() != wanted.lower():
        findings.notes.append(f"{author}: its adapter says that it was made for {made_for or 'no model'}, not {wanted}")


def _read_config(source: str, revision: str | None, name: str, findings: Findings) -> dict[str, Any] | None:
    """A JSON file of a model folder or hub repository; None, with a problem noted, where it cannot be had."""
    folder = Path(source)
    if folder.is_dir():
        path = folder / name
        if not path.is_file():
            findings.problems.append(f"{source} has no {name}: not a model of this kind, or a copy that was cut short")
            return None
        return dict(json.loads(path.read_text()))
    if source.startswith(("/", ".")):
        findings.problems.append(f"{source}: no such folder")
        return None
    return _read_from_hub(source, revision, name, findings)


def _read_from_hub(source: str, revision: str | None, name: str, findings: Findings) -> dict[str, Any] | None:
    from huggingface_hub import get_token, hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, LocalEntryNotFoundError

    if not _HUB.reachable:
        findings.problems.append(f"{source}: the hub cannot be reached")
        return None
    try:
        return dict(json.loads(Path(hf_hub_download(source, name, revision=revision)).read_text()))
    except (LocalEntryNotFoundError, ConnectionError) as error:
        _HUB.reachable = False
        reason = " ".join(str(error).split())[:_REASON]
        findings.problems.append(f"{source}: the hub cannot be reached and no copy is cached ({reason})")
    except (HfHubHTTPError, EntryNotFoundError, OSError) as error:
        token = "a token is set" if get_token() else "no token is set: `hf auth login`, or set HF_TOKEN"
        reason = " ".join(str(error).split())[:_REASON]
        findings.problems.append(f"{source}: {reason} ({token}; is its licence accepted?)")
    return None


class _Hub:
    """Whether the hub answers; asked once, so that 56 adapters do not wait for 56 time-outs."""

    reachable = os.environ.get("HF_HUB_OFFLINE") != "1"


_HUB = _Hub()
