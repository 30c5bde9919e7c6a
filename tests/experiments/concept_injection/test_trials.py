"""The grid: which trials, under which names."""

from collections.abc import Callable

import pytest
from pydantic import ValidationError

from experiments.concept_injection.request import GRIDS, SweepRequest
from experiments.concept_injection.trials import batches_of, plan_readouts, plan_trials

Make = Callable[..., SweepRequest]


def test_the_first_briefs_grid() -> None:
    request = SweepRequest(experiment_id="sweep-3b-full")
    assert request.layers_of(36) == (22, 23, 25, 27) and request.model_id == "Qwen/Qwen2.5-3B-Instruct"
    trials = plan_trials(request, "fear", request.layers_of(36))
    assert len(trials) == 3 * 4 * 5 * 20 and trials[0].id == "fear_injection_L22_S1.5_t0"
    assert "fear_injection_L22_S2.0_t0" in {trial.id for trial in trials}
    assert request.files == ("control", "celebration", "ocean", "fear", "silence")
    assert [trial.id for trial in plan_trials(request, "control", ())][:2] == ["control_t0", "control_t1"]


def test_the_second_briefs_grid() -> None:
    request = SweepRequest(experiment_id="e", **GRIDS["wide"], conditions=("injection",))
    layers = request.layers_of(36)
    assert len(layers) == 6 and layers[-1] == 34
    injected = sum(len(plan_trials(request, name, layers)) for name in request.concepts)
    assert 2 * injected == 11_520, "the brief runs as many controls; ours are shared"


def test_ids_are_unique_and_controls_take_turns(request_of: Make) -> None:
    request = request_of(concepts=("fear", "ocean", "dust"), trials=4)
    trials = plan_trials(request, "fear", (1, 2))
    assert len({trial.id for trial in trials}) == len(trials) == 3 * 2 * 2 * 4
    first: dict[str, list[str | None]] = {each.push.condition: [] for each in trials}
    for trial in trials:
        if (trial.push.layer, trial.push.strength) == (1, 2.0):
            first[trial.push.condition].append(trial.push.direction)
    assert first == {
        "injection": ["fear"] * 4,
        "random": ["random-0", "random-1", "random-0", "random-1"],
        "other": ["ocean", "dust", "ocean", "dust"],
    }
    assert len(plan_readouts(request, "fear", (1, 2))) == 2 * 2 * (1 + 2 + 2)


def test_of_one_concept_there_is_no_other(request_of: Make) -> None:
    assert request_of(concepts=("fear",)).used_conditions == ("injection", "random")


def test_batches_hold_everything_once(request_of: Make) -> None:
    request = request_of(batch_size=5)
    trials = plan_trials(request, "ocean", (1, 2))
    batches = batches_of(request, trials)
    assert [trial for batch in batches for trial in batch] == trials
    assert {len(batch) for batch in batches[:-1]} == {5}


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"concepts": ()}, "one at least"), ({"concepts": ("fear", "fear")}, "different words"),
        ({"concepts": ("two words",)}, "one word of letters"), ({"concepts": ("control",)}, "other than 'control'"),
        ({"strengths": (0.0,)}, "above 0"), ({"strengths": (1.0, 1)}, "given twice"),
        ({"layers": (), "depths": (1.5,)}, "from 0 to 1"), ({"conditions": ("control",)}, "control always runs"),
        ({"experiment_id": "../x"}, "file name"), ({"nonsense": 1}, "Extra inputs"),
    ],
)  # fmt: skip
def test_a_senseless_request_is_refused(request_of: Make, wrong: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        request_of(**wrong)
