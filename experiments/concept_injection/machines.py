"""Which GPU a sweep needs in the cloud, and what it may cost there: arithmetic alone, nothing is asked of anybody.

    tokens     trials × tokens of a reply at most, over all files (the control, and each concept)
    GPU-hours  tokens / tokens a second / 3600  +  files × minutes to start / 60
    price      GPU-hours × USD per GPU-hour

Tokens a second and minutes to start are estimates by model size: nothing was measured on these GPUs. The true speed is
taken to lie between half and twice the estimate, which makes the range of the hours; the range of the price is the
fewest hours at the lowest price, and the most hours at the highest. Prices are in `cloud_prices.json`. A judge's calls
cost extra: `backfill_judges.py --dry-run` prints them.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from experiments.concept_injection.request import SweepRequest
from experiments.concept_injection.trials import plan_trials
from interp.errors import InputError
from interp.records import Record, read_record

Provider = Literal["modal", "google_batch"]

PRICES = Path(__file__).with_name("cloud_prices.json")

SPREAD = 2.0
"""How far the true speed may be from the estimate, either way."""


@dataclass(frozen=True)
class Gpu:
    """A kind of GPU, under the name that Modal has for it; `memory_gb` of one."""

    name: str
    memory_gb: int


GPUS = {gpu.name: gpu for gpu in (Gpu("L4", 24), Gpu("A100-40GB", 40), Gpu("A100-80GB", 80), Gpu("H100", 80))}


@dataclass(frozen=True)
class ModelSize:
    """A model's GPU, and estimates for it there, in bfloat16 and batches of 64.

    Attributes:
        tokens_per_second: of all replies of a batch together.
        start_minutes: until the first trial: machine, weights, concept vectors.
    """

    gpu: str
    tokens_per_second: float
    start_minutes: float


SIZES = {
    "3b": ModelSize("L4", 1000, 4),
    "7b": ModelSize("L4", 600, 6),
    "14b": ModelSize("A100-40GB", 1000, 8),
    "32b": ModelSize("A100-80GB", 700, 15),
}


class PriceRange(Record):
    """USD per GPU-hour."""

    low: float
    high: float


class CloudPrices(Record):
    """What `cloud_prices.json` holds: prices by provider and GPU, and how far they may be trusted."""

    date: str
    from_memory_must_be_checked: bool
    note: str
    usd_per_gpu_hour: dict[Provider, dict[str, PriceRange]]


@dataclass(frozen=True)
class Range:
    """From the least to the most."""

    low: float
    high: float

    def text(self, unit: str) -> str:
        return f"{self.low:.2f} to {self.high:.2f} {unit}"


@dataclass(frozen=True)
class CostTable:
    """What a sweep is, and what it may take. Hours and price are None where nothing is known of the model's speed."""

    provider: Provider
    model: str
    gpu: Gpu
    files: int
    trials: int
    tokens: int
    gpu_hours: Range | None
    price: PriceRange
    prices: CloudPrices

    @property
    def usd(self) -> Range | None:
        if self.gpu_hours is None:
            return None
        return Range(self.gpu_hours.low * self.price.low, self.gpu_hours.high * self.price.high)

    def text(self) -> str:
        """A table of a few lines, to be printed before anything is started."""
        unknown = "not estimated: the speed of this model is not known"
        checked = "; from memory, check them" if self.prices.from_memory_must_be_checked else ""
        rows = {
            "model": f"{self.model} on {self.gpu.name} ({self.gpu.memory_gb} GB), {self.provider}",
            "files": f"{self.files}, a GPU each",
            "trials": f"{self.trials:,}",
            "tokens": f"{self.tokens:,} at most",
            "GPU-hours": self.gpu_hours.text("(estimate)") if self.gpu_hours else unknown,
            "price": self.usd.text("USD, without a judge (estimate)") if self.usd else unknown,
            "a GPU-hour": f"{self.price.low} to {self.price.high} USD (prices of {self.prices.date}{checked})",
        }
        return "\n".join(f"{name:<11}{value}" for name, value in rows.items())


def gpu_of(request: SweepRequest, chosen: str | None = None) -> Gpu:
    """The GPU that was chosen, else that of the model's size.

    Raises:
        InputError: there is no such GPU; or none was chosen, and the model is none of the known sizes.
    """
    known = ", ".join(GPUS)
    if chosen is None and request.model not in SIZES:
        raise InputError(f"no GPU is known for the model {request.model}: choose one with --gpu: {known}")
    name = chosen or SIZES[request.model].gpu
    if name not in GPUS:
        raise InputError(f"there is no GPU {name!r}; there are: {known}")
    return GPUS[name]


def count_trials(request: SweepRequest, name: str) -> int:
    """The trials of a file. Layers given as shares of depth count one each; in a shallow model some are the same."""
    layers = request.layers or tuple(range(len(request.depths)))
    return len(plan_trials(request, name, layers))


def cost_table(request: SweepRequest, provider: Provider, gpu: str | None = None, prices: Path = PRICES) -> CostTable:
    """What a sweep may take at a provider, on the GPU that `gpu_of` says.

    Raises:
        InputError: no such GPU; a malformed file of prices, or one that lacks this GPU.
    """
    chosen, listed = gpu_of(request, gpu), read_record(CloudPrices, prices)
    trials = sum(count_trials(request, name) for name in request.files)
    tokens = trials * request.sampling.max_new_tokens
    return CostTable(
        provider, request.model_name, chosen, len(request.files), trials, tokens,
        _gpu_hours(request, tokens), _price(listed, provider, chosen, prices), listed,
    )  # fmt: skip


def _gpu_hours(request: SweepRequest, tokens: int) -> Range | None:
    size = SIZES.get(request.model)
    if size is None:
        return None
    starting = len(request.files) * size.start_minutes / 60
    answering = tokens / size.tokens_per_second / 3600
    return Range((answering + starting) / SPREAD, (answering + starting) * SPREAD)


def _price(prices: CloudPrices, provider: Provider, gpu: Gpu, where: Path) -> PriceRange:
    try:
        return prices.usd_per_gpu_hour[provider][gpu.name]
    except KeyError:
        raise InputError(f"{where} has no price of {gpu.name} at {provider}: add it, with its date") from None
