"""Every measured piece of work runs in a process of its own, forked from one that has done the imports.

So no side pays for importing torch, and what a process occupies above its start is what the work needs.
"""

import multiprocessing
import os
import shutil
import tempfile
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from benchmarks.jobs import Job, PhaseFunction, PhaseReport

Result = TypeVar("Result")

_PRELOAD = [
    "torch",
    "peft",
    "transformers.models.llama.modeling_llama",
    "benchmarks.plain_baseline",
    "inference.generate_responses",
    "inference.project_raw_activations_onto_traits",
    "inference.readings",
    "inference.replay_responses",
    "inference.scoring",
    "interp.generation",
    "interp.projections",
]


def in_fresh_process(threads: int, work: Callable[..., Result], *args: Any) -> Result:
    """`work(*args)` in a process that has imported everything and done nothing else."""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):  # read when the first process starts
        os.environ[name] = str(threads)
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOAD)
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(_prepared, threads, work, args).result()


def measure_phase(phase: PhaseFunction, job: Job) -> PhaseReport:
    """A phase of one side, with what it took."""
    return in_fresh_process(job.threads, _measured, phase, job)


def _measured(phase: PhaseFunction, job: Job) -> PhaseReport:
    import torch

    from benchmarks.stopwatch import UNCOUNTED, Stopwatch

    start = resident_bytes("VmRSS")
    watch = Stopwatch()
    phase(job, watch)
    watch.lap()
    gpu = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0
    stages = {name: cost for name, cost in watch.stages.items() if name != UNCOUNTED}
    return PhaseReport(stages=stages, peak_bytes=resident_bytes("VmHWM") - start, gpu_peak_bytes=gpu)


def resident_bytes(field: str) -> int:
    """VmRSS: resident memory now; VmHWM: the most there ever was (as ru_maxrss, but never the parent's). Linux only."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:")) * 1024


def _prepared(threads: int, work: Callable[..., Result], args: tuple[Any, ...]) -> Result:
    import torch
    from transformers.utils import logging

    warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)  # peft 0.21 asks for it
    torch.set_num_threads(threads)
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    _touch_libraries()
    return work(*args)


def _touch_libraries() -> None:
    """Use what every phase uses, so that library code which is read in on first use is not taken for its memory."""
    import pyarrow.parquet  # noqa: F401
    import torch
    from peft import LoraConfig, PeftModel, get_peft_model
    from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

    shape = {"vocab_size": 8, "hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1}
    network = LlamaForCausalLM(LlamaConfig(**shape, num_attention_heads=1, bos_token_id=0, eos_token_id=1))
    folder = Path(tempfile.mkdtemp())
    network.save_pretrained(folder / "base")
    get_peft_model(network, LoraConfig(r=1, target_modules=["q_proj"])).save_pretrained(folder / "adapter")
    base = AutoModelForCausalLM.from_pretrained(folder / "base")
    PeftModel.from_pretrained(base, folder / "adapter").generate(
        input_ids=torch.tensor([[2, 3]]), attention_mask=torch.ones(1, 2).long(), max_new_tokens=2, pad_token_id=0
    )
    shutil.rmtree(folder)
