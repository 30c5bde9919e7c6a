"""Tiny models for all tests. Shapes of tensor functions are checked at every call."""
# ruff: noqa: E402  # the environment and the import hook come before the imports that they are for

import os

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

from jaxtyping import install_import_hook

# The modules of tensors; pydantic's records check themselves, and others name some types only under TYPE_CHECKING.
_CHECKED = ("activations", "blocks", "capture", "generation", "interventions", "summaries", "vectors")
install_import_hook([f"interp.{name}" for name in _CHECKED], "beartype.beartype")

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
import torch
from transformers.utils import logging as transformers_logging

from interp.config import AdapterSpec, BaseModelSpec
from interp.models import LanguageModel, load_language_model
from tests.tiny_models import FAMILIES, save_adapter, save_model, zero_adapter

torch.set_num_threads(1)
transformers_logging.set_verbosity_error()
transformers_logging.disable_progress_bar()

FolderOf = Callable[[str], Path]


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> FolderOf:
    """The folder of a family's tiny model, made when it is first asked for."""
    root = tmp_path_factory.mktemp("models")
    return cache(lambda family: save_model(root / family, family))


@pytest.fixture(scope="session", params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    """Each supported architecture in turn."""
    return str(request.param)


@pytest.fixture(scope="session")
def folder(family: str, model_folder: FolderOf) -> Path:
    """The tiny model's folder of each architecture in turn."""
    return model_folder(family)


@pytest.fixture(scope="session")
def model(folder: Path) -> LanguageModel:
    """Each architecture in turn, loaded in float32. Shared: leave it as it is."""
    return load_language_model(spec_of(folder), "cpu")


@pytest.fixture(scope="session")
def llama_folder(model_folder: FolderOf) -> Path:
    return model_folder("llama")


@pytest.fixture(scope="session")
def llama(llama_folder: Path) -> LanguageModel:
    """The tiny Llama in float32. Shared: leave it as it is."""
    return load_language_model(spec_of(llama_folder), "cpu")


@pytest.fixture(scope="session")
def adapters(llama_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, AdapterSpec]:
    """Adapters of the tiny Llama: two of different ranks and targets, and one that does nothing."""
    root = tmp_path_factory.mktemp("adapters")
    save_adapter(root / "narrow", llama_folder, 2, ["q_proj", "v_proj"], seed=1)
    save_adapter(root / "wide", llama_folder, 5, ["o_proj", "gate_proj", "down_proj"], seed=2)
    zero_adapter(save_adapter(root / "zero", llama_folder, 3, ["q_proj", "up_proj"], seed=3))
    return {name: AdapterSpec(adapter=str(root / name)) for name in ("narrow", "wide", "zero")}


def spec_of(folder: Path) -> BaseModelSpec:
    return BaseModelSpec(model=str(folder), dtype="float32")
