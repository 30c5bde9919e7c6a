"""GPUs by model size, and the arithmetic of what a sweep may cost."""

import json
from pathlib import Path
from typing import get_args

import pytest

from experiments.concept_injection.machines import GPUS, PRICES, SIZES, Provider, cost_table, count_trials, gpu_of
from experiments.concept_injection.request import GRIDS, MODELS, SweepRequest
from interp.errors import InputError
from interp.files import read_json
from interp.paths import REPOSITORY


def request_of(model: str = "7b", **changes: object) -> SweepRequest:
    return SweepRequest.model_validate({"experiment_id": "e", "model": model, **changes})


@pytest.mark.parametrize(
    ("model", "gpu", "memory"), [("3b", "L4", 24), ("7b", "L4", 24), ("14b", "A100-40GB", 40), ("32b", "A100-80GB", 80)]
)
def test_the_gpu_follows_from_the_size(model: str, gpu: str, memory: int) -> None:
    found = gpu_of(request_of(model))
    assert (found.name, found.memory_gb) == (gpu, memory)
    assert gpu_of(request_of(model), "H100").name == "H100"


def test_every_short_name_has_a_gpu_with_room_for_its_weights() -> None:
    assert set(SIZES) == set(MODELS)
    for name, size in SIZES.items():
        assert 2 * int(name.removesuffix("b")) < GPUS[size.gpu].memory_gb, "two bytes a parameter"


def test_another_model_needs_a_choice() -> None:
    with pytest.raises(InputError, match=r"no GPU is known for the model org/other.*--gpu: L4, A100-40GB"):
        gpu_of(request_of("org/other"))
    with pytest.raises(InputError, match="there is no GPU 'T4'"):
        gpu_of(request_of("org/other"), "T4")
    table = cost_table(request_of("org/other"), "modal", "L4")
    assert table.usd is None and table.text().count("not estimated") == 2


def test_the_wide_grid_has_the_trials_of_the_brief() -> None:
    """11,520: 4 concepts × 6 layers × 6 strengths × 40 trials × {injection, control}; here a control is shared."""
    request = request_of(conditions=("injection",), control_trials=60, **GRIDS["wide"])
    assert [count_trials(request, name) for name in request.files] == [60] + 4 * [6 * 6 * 40]
    assert count_trials(request_of(layers=(1, 5)), "fear") == 3 * 2 * 5 * 20


def test_a_table_by_hand() -> None:
    """One concept, one cell, 1 million tokens at 1000 a second, and two starts of 4 minutes."""
    changes = {"concepts": ("fear",), "layers": (3,), "strengths": (2.0,), "conditions": ("injection",)}
    sampling = {"max_new_tokens": 1000}
    table = cost_table(request_of("3b", trials=900, control_trials=100, sampling=sampling, **changes), "google_batch")
    assert (table.files, table.trials, table.tokens, table.gpu.name) == (2, 1000, 1_000_000, "L4")
    hours = 1000 / 3600 + 8 / 60
    assert table.gpu_hours is not None and table.usd is not None
    assert (table.gpu_hours.low, table.gpu_hours.high) == pytest.approx((hours / 2, hours * 2))
    prices = read_json(PRICES)["usd_per_gpu_hour"]["google_batch"]["L4"]
    assert (table.usd.low, table.usd.high) == pytest.approx((hours / 2 * prices["low"], hours * 2 * prices["high"]))
    text = table.text()
    assert "1,000,000 at most" in text and "0.21 to 0.82 (estimate)" in text
    assert "from memory, check them" in text and read_json(PRICES)["date"] in text


def test_prices_that_lack_a_gpu_are_an_error(tmp_path: Path) -> None:
    prices = read_json(PRICES)
    del prices["usd_per_gpu_hour"]["modal"]["L4"]
    prices["from_memory_must_be_checked"] = False
    path = tmp_path / "prices.json"
    path.write_text(json.dumps(prices))
    with pytest.raises(InputError, match="has no price of L4 at modal"):
        cost_table(request_of("3b"), "modal", prices=path)
    assert "from memory" not in cost_table(request_of("32b"), "modal", prices=path).text()


def test_both_providers_have_a_price_of_every_gpu() -> None:
    for provider, prices in read_json(PRICES)["usd_per_gpu_hour"].items():
        assert provider in ("modal", "google_batch") and set(prices) == set(GPUS)
        assert all(0 < each["low"] <= each["high"] for each in prices.values())


@pytest.mark.parametrize("model", SIZES)
def test_the_readme_quotes_the_table(model: str) -> None:
    tables = [cost_table(SweepRequest(experiment_id="e", model=model), provider) for provider in get_args(Provider)]
    ranges = [tables[0].gpu_hours, *(table.usd for table in tables)]
    cells = " | ".join(each.text("").strip() for each in ranges if each is not None)
    assert f"| {model} | {tables[0].gpu.name} | {cells} |" in (REPOSITORY / "README.md").read_text()
