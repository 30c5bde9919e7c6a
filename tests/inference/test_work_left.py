"""What is left of an audit, counted after one thing at a time was taken away."""

import shutil
from dataclasses import replace

from inference.plan import Plan, make_plan
from inference.units import CaptureOptions
from inference.work_left import WorkLeft, work_left
from interp.config import Experiment
from tests.inference.conftest import Audit

FINISHED = WorkLeft(0, 0, 0, 0, build=False, analysis=False)


def experiment_and_plan(audit: Audit, *authors: str) -> tuple[Experiment, Plan]:
    experiment = Experiment(audit.name, audit.root)
    return experiment, make_plan(experiment, list(authors) or None, None, CaptureOptions(True, "float16"))


def test_what_is_left_is_counted_from_disk(done: Audit) -> None:
    experiment, plan = experiment_and_plan(done)
    assert work_left(experiment, plan) == FINISHED
    author, prompt_set = plan.authors[0], plan.prompt_sets[0]
    key = (author, prompt_set.name)
    first = prompt_set.prompts[0].id

    own = experiment.paths.activations(*key, "self") / f"{first}.pt"
    own.write_bytes(own.read_bytes()[:-30])
    assert work_left(experiment, plan) == replace(FINISHED, generate_batches=1)
    (experiment.paths.responses(*key) / f"{first}.json").unlink()
    assert work_left(experiment, plan) == replace(FINISHED, generate_batches=1)
    (experiment.paths.activations(*key, experiment.config.clean_reader) / f"{first}.pt").unlink()
    assert work_left(experiment, plan) == replace(FINISHED, generate_batches=1, replay_batches=1)
    _, others = experiment_and_plan(done, plan.authors[1])
    assert work_left(experiment, others) == FINISHED


def test_readings_traits_and_analysis_are_counted(done: Audit) -> None:
    experiment, plan = experiment_and_plan(done)
    note = experiment.paths.analysis / "compare_readers" / "_made_from.json"
    note.rename(done.root / "note")
    assert work_left(experiment, plan) == replace(FINISHED, analysis=True)
    (done.root / "note").rename(note)
    norms = experiment.paths.norms(plan.authors[0], plan.prompt_sets[0].name, "self")
    norms.write_bytes(norms.read_bytes()[:-4])
    assert work_left(experiment, plan) == replace(FINISHED, readings=1, analysis=True)
    every = 2 * len(plan.authors) * len(plan.prompt_sets)
    vector = next(iter(experiment.paths.vectors.glob("*/*.safetensors")))
    shutil.copy(vector, vector.with_name("one_more_method.safetensors"))
    assert work_left(experiment, plan).readings == every
    vector.unlink()
    assert work_left(experiment, plan) == replace(FINISHED, traits=1, readings=every, analysis=True)
