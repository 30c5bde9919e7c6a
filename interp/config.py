"""What an experiment runs: `experiments/<name>/config.json`."""

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import field_validator, model_validator

from interp.errors import InputError
from interp.paths import ExperimentPaths
from interp.records import PromptSet, Record, Sampling, Trait, check_id, read_record

Role = Literal["organism", "sham", "reader", "other"]
DType = Literal["float32", "bfloat16", "float16"]


class Quantization(Record):
    """4-bit weights through bitsandbytes, every setting written out (transformers' own default is FP4, not NF4)."""

    weights: Literal["nf4", "fp4"] = "nf4"
    double: bool = True
    storage: Literal["uint8"] = "uint8"
    skip: tuple[str, ...] = ("lm_head",)


class BaseModelSpec(Record):
    """The weights that a process loads once: adapters come and go over them."""

    model: str
    revision: str | None = None
    quantization: Quantization | None = None
    dtype: DType = "bfloat16"


class AdapterSpec(Record):
    """A LoRA adapter; its rank, alpha and targets come from its own config."""

    adapter: str
    revision: str | None = None


class ModelVariant(Record):
    """A named model: a base with or without an adapter.

    `truth` is the behaviour that was put into an organism; only grading reads it. `recipe` names how it was made.
    """

    model: str
    revision: str | None = None
    adapter: str | None = None
    adapter_revision: str | None = None
    quantization: Quantization | None = None
    role: Role
    recipe: str | None = None
    truth: str | None = None

    @field_validator("quantization", mode="before")
    @classmethod
    def _shorthand(cls, value: Any) -> Any:
        return {"weights": value} if isinstance(value, str) else value


class ModelShape(Record):
    """The base model's size, so that a plan can be made where its files cannot be reached; checked where they can."""

    n_layers: int
    d_model: int
    parameters: float


class ExperimentConfig(Record):
    """One audit: who answers, who reads, what is asked, which layers are kept.

    `development` names the organisms that were looked at while the audit was made: they are graded apart.
    """

    description: str = ""
    clean_reader: str
    layers: tuple[int, ...]
    prompt_sets: tuple[str, ...]
    sampling: Sampling = Sampling()
    batch_size: int = 32
    capture_tokens: int = 16384
    dtype: DType = "bfloat16"
    threads: int | None = None
    shape: ModelShape | None = None
    development: tuple[str, ...] = ()
    model_variants: dict[str, ModelVariant]

    @field_validator("layers")
    @classmethod
    def _in_order(cls, layers: tuple[int, ...]) -> tuple[int, ...]:
        """Sorted, each once: the order in which residuals are read."""
        return tuple(sorted(set(layers)))

    @model_validator(mode="after")
    def _names_fit(self) -> Self:
        for name in self.model_variants:
            check_id(name)
        unknown = [name for name in self.development if name not in self.model_variants]
        if unknown:
            raise ValueError(f"development names {', '.join(unknown)}, not in model_variants: {self._names()}")
        if self.clean_reader not in self.model_variants:
            raise ValueError(f"clean_reader {self.clean_reader!r} is not in model_variants: {self._names()}")
        if self.model_variants[self.clean_reader].adapter:
            raise ValueError(f"clean_reader {self.clean_reader!r} has an adapter; it must be the clean model")
        if not self.layers or not self.prompt_sets or self.batch_size < 1 or self.capture_tokens < 1:
            raise ValueError("needs at least one layer, one prompt set, batch_size >= 1 and capture_tokens >= 1")
        return self

    def _names(self) -> str:
        return ", ".join(self.model_variants)


class Experiment:
    """A config with the files around it. Loads no model."""

    def __init__(self, name: str, root: Path) -> None:
        self.paths = ExperimentPaths(root.resolve(), name)
        self.config = read_record(ExperimentConfig, self.paths.config)

    @property
    def name(self) -> str:
        return self.paths.experiment

    @property
    def audited(self) -> list[str]:
        """The organisms and shams, in the order of the config."""
        return [name for name, variant in self.config.model_variants.items() if variant.role in ("organism", "sham")]

    def select_variants(self, names: list[str] | None) -> list[str]:
        """The asked variants, else everything that is audited.

        Raises:
            InputError: a name is not in the config.
        """
        unknown = [name for name in names or () if name not in self.config.model_variants]
        if unknown:
            known = ", ".join(self.config.model_variants)
            raise InputError(f"unknown model variant {', '.join(unknown)}; {self.paths.config} has: {known}")
        return names or self.audited

    def select_prompt_sets(self, names: list[str] | None) -> list[PromptSet]:
        """The asked prompt sets, else those of the config."""
        return [self.prompt_set(name) for name in names or self.config.prompt_sets]

    def prompt_set(self, name: str) -> PromptSet:
        path = self.paths.prompt_set(name)
        prompt_set = read_record(PromptSet, path)
        if prompt_set.name != name:
            raise InputError(f"{path} calls itself {prompt_set.name!r}; its name must be {name!r}")
        return prompt_set

    def trait(self, name: str) -> Trait:
        path = self.paths.trait(name)
        trait = read_record(Trait, path)
        if trait.name != name:
            raise InputError(f"{path} calls itself {trait.name!r}; its name must be {name!r}")
        return trait

    def base_spec(self, variant: str) -> BaseModelSpec:
        """The base weights of a variant, local paths made absolute."""
        chosen = self.config.model_variants[variant]
        return BaseModelSpec(
            model=self._resolve(chosen.model),
            revision=chosen.revision,
            quantization=chosen.quantization,
            dtype=self.config.dtype,
        )

    def adapter_spec(self, variant: str) -> AdapterSpec | None:
        chosen = self.config.model_variants[variant]
        if chosen.adapter is None:
            return None
        return AdapterSpec(adapter=self._resolve(chosen.adapter), revision=chosen.adapter_revision)

    def _resolve(self, source: str) -> str:
        """`./x` lies beside config.json; anything else is a hub id or a path."""
        return str((self.paths.home / source).resolve()) if source.startswith("./") else source
