"""Jobs of Google Cloud Batch: what Google's own types read in them, what is refused here, submitting and describing."""

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from google.cloud import batch_v1

from experiments.concept_injection.cloud_batch import submit_batch
from experiments.concept_injection.cloud_batch.job import BatchJob
from experiments.concept_injection.cloud_batch.placement import MACHINE_TYPES, PLACEMENTS
from experiments.concept_injection.cloud_batch.service import EMULATOR, BatchService
from experiments.concept_injection.cloud_batch.submitted import read_submitted
from experiments.concept_injection.destination import Destination
from experiments.concept_injection.machines import SIZES
from experiments.concept_injection.paths import SweepPaths
from experiments.concept_injection.request import SweepRequest
from interp.errors import InputError, InterpError, ServiceUnavailable, SettingsChanged
from interp.records import parse_record
from interp.stores import GrowingUpload, open_store
from tests.batch_server import FORBIDDEN, BatchServer, running_server
from tests.object_stores import Place, free_port, new_place

SECRET = "projects/my-project/secrets/openai/versions/latest"
OPTIONS = {
    "--project": "my-project", "--region": "us-central1", "--experiment-id": "e", "--model": "7b",
    "--image": "us-central1-docker.pkg.dev/my-project/sweeps/sweep:1",
    "--service-account": "sweeps@my-project.iam.gserviceaccount.com", "--concepts": "fear ocean",
}  # fmt: skip


def fields(**changes: Any) -> dict[str, Any]:
    """A job that is right, but for what is changed."""
    return {
        "job_id": "sweep-1", "project": "my-project", "region": "us-central1", "image": OPTIONS["--image"],
        "service_account": OPTIONS["--service-account"], "machine_type": "g2-standard-8", "disk_gb": 100,
        "task_count": 3, "parallelism": 2, "labels": {"study": "concept-injection"},
        "secrets": {"OPENAI_API_KEY": SECRET}, "store": "gs://bucket/sweeps", "judge_options": ("--judge", "m"),
        "request": SweepRequest(experiment_id="e", concepts=("fear", "ocean")), **changes,
    }  # fmt: skip


def test_google_reads_in_a_job_what_was_meant() -> None:
    job = BatchJob(**fields(max_retries=4, max_seconds=7200, zones=("us-central1-a",), upload_every=20))
    read = batch_v1.Job.from_json(job.as_json())
    (group,), (instance,) = read.task_groups, read.allocation_policy.instances
    (policy,) = group.task_spec.lifecycle_policies
    assert (group.task_count, group.parallelism, group.task_count_per_node) == (3, 2, 1)
    assert (group.task_spec.max_retry_count, group.task_spec.max_run_duration.seconds) == (4, 7200)
    assert policy.action.name == "RETRY_TASK" and {50001, 75} <= set(policy.action_condition.exit_codes)
    assert not {1, 2, 3, 4, 5, 6, 7} & set(policy.action_condition.exit_codes), "what is wrong stays wrong"
    assert instance.install_gpu_drivers and instance.policy.provisioning_model.name == "SPOT"
    (accelerator,) = instance.policy.accelerators
    assert (accelerator.type_, accelerator.count, instance.policy.machine_type) == ("nvidia-l4", 1, "g2-standard-8")
    assert instance.policy.boot_disk.size_gb == 100
    assert list(read.allocation_policy.location.allowed_locations) == ["zones/us-central1-a"]
    assert read.allocation_policy.service_account.email == OPTIONS["--service-account"]
    assert dict(group.task_spec.environment.secret_variables) == {"OPENAI_API_KEY": SECRET}
    variables = dict(group.task_spec.environment.variables)
    assert SweepRequest.model_validate_json(variables["SWEEP_REQUEST"]) == job.request
    assert (variables["SWEEP_STORE"], variables["SWEEP_UPLOAD_EVERY"]) == ("gs://bucket/sweeps", "20")
    assert list(group.task_spec.runnables[0].container.commands) == ["--judge", "m"]


def test_machines_may_have_another_driver() -> None:
    job = BatchJob(**fields(boot_image="batch-debian", driver_version="580.95.05"))
    policy = batch_v1.Job.from_json(job.as_json()).allocation_policy.instances[0].policy
    assert (policy.boot_disk.image, policy.accelerators[0].driver_version) == ("batch-debian", "580.95.05")


def test_on_demand_is_not_spot() -> None:
    job = batch_v1.Job.from_json(BatchJob(**fields(spot=False)).as_json())
    assert job.allocation_policy.instances[0].policy.provisioning_model.name == "STANDARD"


@pytest.mark.parametrize("size", SIZES)
def test_every_size_has_a_machine_with_its_gpu(size: str) -> None:
    machine = MACHINE_TYPES[PLACEMENTS[SIZES[size].gpu].machine_type]
    expected = {"L4": "nvidia-l4", "A100-40GB": "nvidia-tesla-a100", "A100-80GB": "nvidia-a100-80gb"}
    assert machine.accelerator == expected[SIZES[size].gpu]


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "capitals in the id": ({"job_id": "Sweep"}, "lower-case letters"),
    "a dash at its end": ({"job_id": "sweep-"}, "lower-case letters"),
    "a long id": ({"job_id": "s" * 64}, "at most 63"),
    "a project's title": ({"project": "My Project"}, "a project's id"),
    "a zone for a region": ({"region": "us-central1-a"}, "a region such as"),
    "no tag": ({"image": "gcr.io/p/sweep"}, "a tag or digest"),
    "no registry": ({"image": "sweep:1"}, "HOST/PATH/NAME:TAG"),
    "somebody's account": ({"service_account": "me@gmail.com"}, "gserviceaccount.com"),
    "a machine without a GPU": ({"machine_type": "n2-standard-4"}, "known are g2-standard-4"),
    "too small a disk": ({"disk_gb": 10}, "disk_gb"),
    "a driver by name": ({"driver_version": "latest"}, "a version of NVIDIA's driver"),
    "a boot image of nobody's": ({"boot_image": "ubuntu"}, "boot_image"),
    "99 retries": ({"max_retries": 99}, "max_retries: Input should be less than or equal to 10"),
    "no retries at all, and fewer": ({"max_retries": -1}, "max_retries"),
    "too long": ({"max_seconds": 15 * 24 * 3600}, "max_seconds"),
    "more tasks than files": ({"task_count": 4}, "4 tasks for 3 files"),
    "more at once than there are": ({"parallelism": 4}, "parallelism 4"),
    "a zone elsewhere": ({"zones": ("europe-west4-a",)}, "no zone of us-central1"),
    "capitals in a label": ({"labels": {"study": "Fear"}}, "study=Fear is no label"),
    "a label of Google's": ({"labels": {"goog-x": "1"}}, "no label"),
    "a secret's value": ({"secrets": {"OPENAI_API_KEY": "sk-12345"}}, "OPENAI_API_KEY must name a secret"),
    "a secret without a version": ({"secrets": {"K": "projects/p/secrets/s"}}, "K must name a secret"),
    "a variable of Batch's": ({"secrets": {"BATCH_TASK_INDEX": SECRET}}, "no environment variable"),
    "a variable of ours": ({"secrets": {"SWEEP_STORE": SECRET}}, "no environment variable"),
    "a folder for a store": ({"store": "/results"}, "gs://"),
    "a typo": ({"max_retry": 3}, "unknown key 'max_retry'"),
    "an endless request": (
        {"request": SweepRequest(experiment_id="e", concepts=tuple("x" * n for n in range(1, 400)))},
        "request has over 65536 bytes",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_google_would_take_is_refused_in_one_line(name: str) -> None:
    changes, said = WRONG[name]
    with pytest.raises(InputError) as error:
        parse_record(BatchJob, fields(**changes), "the job")
    message = str(error.value)
    assert said in message and "\n" not in message and "sk-12345" not in message


def test_the_job_that_is_refused_in_part_is_right_in_itself() -> None:
    assert parse_record(BatchJob, fields(), "the job").name == "projects/my-project/locations/us-central1/jobs/sweep-1"


# --- The command ------------------------------------------------------------------------------------------------------


Run = Callable[..., int]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    return new_place("gs", tmp_path, monkeypatch)


@pytest.fixture
def run(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The command with options that are right, but for what is changed; an option that is None is left out."""
    monkeypatch.setattr("experiments.concept_injection.cloud_batch.submitted.open_store", quick_store)

    def call(*flags: str, **changes: str | None) -> int:
        given = {**OPTIONS, "--store": place.url, "--root": str(tmp_path / "root")}
        given |= {f"--{name.replace('_', '-')}": value for name, value in changes.items()}  # type: ignore[misc]
        pairs = [word for name, value in given.items() if value is not None for word in (name, *value.split())]
        return submit_batch.main([*pairs, *flags])

    return call


def quick_store(url: str) -> Any:
    from tests.object_stores import QUICK

    return open_store(url, QUICK)


@pytest.fixture
def request_made(tmp_path: Path) -> SweepRequest:
    """That of the command."""
    return SweepRequest(experiment_id="e", model="7b", concepts=("fear", "ocean"))


@pytest.fixture
def serve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., BatchServer]]:
    """The stand-in, whose containers are a program in Python; the client is told of it."""
    opened: list[AbstractContextManager[BatchServer]] = []

    def start(program: str = "") -> BatchServer:
        opened.append(running_server(tmp_path / "disks", [sys.executable, "-S", "-c", program], os.environ))
        server = opened[-1].__enter__()
        monkeypatch.setenv(EMULATOR, server.address)
        return server

    yield start
    for each in opened:
        each.__exit__(None, None, None)


def test_a_dry_run_prints_what_gcloud_would_take_and_asks_nobody(
    run: Run, place: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place.fail()
    judge = ("--judge", "gpt-5-mini", "--secret", f"OPENAI_API_KEY={SECRET}", "--max-in-flight", "8")
    assert run("--dry-run", *judge) == 0
    script = capsys.readouterr().out
    assert script.startswith("# model") and "USD" in script.partition("gcloud")[0]
    command, _, body = script.partition("gcloud ")[2].partition("\n")
    assert shlex.split(command.removesuffix(" <<'JOB'")) == [
        "batch", "jobs", "submit", "sweep-e-7b-1", "--project=my-project", "--location=us-central1", "--config=-"
    ]  # fmt: skip
    job = batch_v1.Job.from_json(body.removesuffix("JOB\n"))
    assert job.task_groups[0].task_count == 3
    container = job.task_groups[0].task_spec.runnables[0].container
    assert list(container.commands) == ["--judge", "gpt-5-mini", "--max-in-flight", "8"]
    assert place.log() == [] and not (tmp_path / "root").exists()


def test_submitting_notes_the_job_and_its_files(
    run: Run, serve: Callable[..., BatchServer], tmp_path: Path, request_made: SweepRequest,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    write = "import os, pathlib; pathlib.Path(os.environ['TMPDIR'], 'key').write_text(os.environ['OPENAI_API_KEY'])"
    server = serve(write)
    assert run("--secret", f"OPENAI_API_KEY={SECRET}") == 0
    assert "submitted projects/my-project/locations/us-central1/jobs/sweep-e-7b-1" in capsys.readouterr().out
    (noted,) = read_submitted(SweepPaths.of(tmp_path / "root", request_made)).jobs
    assert noted.files == (("control",), ("fear",), ("ocean",)) and noted.uid
    assert server.wait(noted.name) == "SUCCEEDED"
    assert (server.disk("sweep-e-7b-1", 2, 0) / "key").read_text() == f"the value of {SECRET}"
    assert run("--status") == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[0].startswith(f"{noted.name}: SUCCEEDED")
    assert shown[2].strip() == "task 1: fear: SUCCEEDED; stored: 0 bytes of trials"


@pytest.mark.parametrize(("code", "tries"), [(75, 3), (143, 3), (2, 1), (3, 1), (7, 1)])
def test_what_may_pass_is_tried_again_and_what_is_wrong_is_not(
    serve: Callable[..., BatchServer], code: int, tries: int
) -> None:
    """The program fails twice, and would then succeed."""
    program = f"import os, sys; sys.exit({code} if os.environ['BATCH_TASK_RETRY_ATTEMPT'] in '01' else 0)"
    server, job = serve(program), BatchJob(**fields(task_count=1, parallelism=1))
    service = BatchService()
    service.submit(job)
    state = server.wait(job.name)
    (task,) = service.describe(job.name).tasks
    assert (state, task.exit_codes) == (("SUCCEEDED", (code, code)) if tries == 3 else ("FAILED", (code,)))
    assert len(list((server.disks / job.job_id).iterdir())) == tries


def test_a_job_of_this_name_is_not_started_twice(run: Run, serve: Callable[..., BatchServer]) -> None:
    serve()
    assert run(job_id="mine") == 0
    with pytest.raises(InputError, match=r"there is a job of this name: .* or give another --job-id"):
        run(job_id="mine")
    assert run() == 0, "the next name is another"


def hold(place: Place, request: SweepRequest, tmp_path: Path, claimed: bool = True) -> None:
    """Lines at the destination, as a task leaves them half-way."""
    destination = Destination.of(place.open(), request, tmp_path / "other")
    if claimed:
        destination.claim(request)
    lines = destination.paths.records("fear")
    lines.parent.mkdir(parents=True)
    lines.write_text('{"id": "fear_0"}\n')
    GrowingUpload(place.open(), destination.paths.stored("fear.jsonl"), lines).push()


def test_a_destination_that_is_there_is_refused(
    run: Run, serve: Callable[..., BatchServer], place: Place, request_made: SweepRequest, tmp_path: Path
) -> None:
    serve()
    hold(place, request_made, tmp_path)
    with pytest.raises(InputError, match=r"e/7b is there already \(3 files\): give --force"):
        run()
    assert run("--force") == 0
    with pytest.raises(SettingsChanged, match=r"another request \(strengths: .*; trials: 20 -> 7\)"):
        run("--force", trials="7", strengths="2.5")


def test_lines_of_nobody_knows_what_are_never_gone_on_with(
    run: Run, place: Place, request_made: SweepRequest, tmp_path: Path
) -> None:
    hold(place, request_made, tmp_path, claimed=False)
    with pytest.raises(SettingsChanged, match="nothing says of which request"):
        run("--force")


def test_a_sweep_that_was_begun_elsewhere_is_known_by_its_request(
    run: Run, serve: Callable[..., BatchServer], place: Place, request_made: SweepRequest, tmp_path: Path
) -> None:
    serve()
    content = json.dumps(request_made.model_dump(mode="json")).encode()
    place.open().create("e/7b/request.json", content)
    hold(place, request_made, tmp_path, claimed=False)
    with pytest.raises(SettingsChanged, match=r"another request.*trials"):
        run("--force", trials="7")
    assert run("--force") == 0


def test_a_store_that_cannot_be_asked_is_not_empty(run: Run, place: Place) -> None:
    with pytest.raises(ServiceUnavailable, match=r"no such bucket|not allowed"):
        run(store=place.url.replace("results", "forbidden"))


def test_errors_of_the_service_are_one_line(
    run: Run, serve: Callable[..., BatchServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    serve()
    with pytest.raises(ServiceUnavailable, match=r"HTTP 403.*roles/batch\.jobsEditor"):
        run(project=FORBIDDEN)
    with pytest.raises(InputError, match="HTTP 404"):
        BatchService().describe("projects/my-project/locations/us-central1/jobs/none")
    monkeypatch.setenv(EMULATOR, f"http://127.0.0.1:{free_port()}")
    with pytest.raises(ServiceUnavailable, match="cannot be reached"):
        run()


def test_without_credentials_there_is_one_clear_line(
    run: Run, place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("GOOGLE_APPLICATION_CREDENTIALS", EMULATOR):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path / "empty"))
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    with pytest.raises(InputError, match=r"^no Google credentials were found: run `gcloud auth application-default"):
        run()


@pytest.mark.parametrize(
    ("flags", "changes", "said"),
    [
        ((), {"project": None, "image": None}, "a job needs --project, --image"),
        (("--judge", "gpt-5-mini"), {}, "--secret OPENAI_API_KEY=projects/"),
        (("--judge", "m", "--base-url", "https://openrouter.ai/api/v1"), {}, "--secret OPENROUTER_API_KEY="),
        (("--prices", "p.json"), {}, "--prices is a file of this machine"),
        ((), {"model": "/models/mine"}, "a folder of this machine"),
        (("--gpu", "H100"), {}, "no machine of Google Cloud is known here with 'H100'"),
        ((), {"model": "org/other"}, "choose one with --gpu"),
        ((), {"prompt_version": "v9"}, "unknown prompt version"),
        (("--status",), {}, "no job is noted"),
    ],
)  # fmt: skip
def test_wrong_options_cost_nothing(
    run: Run, flags: tuple[str, ...], changes: dict[str, str | None], said: str
) -> None:
    with pytest.raises(InterpError, match=said) as error:
        run(*flags, **changes)
    assert "\n" not in str(error.value)


def test_gcloud_itself_submits_the_printed_script(
    run: Run, serve: Callable[..., BatchServer], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The other tests are with Google's client for Python, which the command uses."""
    if shutil.which("gcloud") is None:
        pytest.skip("no gcloud here")
    server = serve()
    assert run("--dry-run") == 0
    environment = {
        **os.environ, "CLOUDSDK_API_ENDPOINT_OVERRIDES_BATCH": f"{server.address}/",
        "CLOUDSDK_AUTH_DISABLE_CREDENTIALS": "true", "CLOUDSDK_CONFIG": str(tmp_path / "gcloud"),
    }  # fmt: skip
    subprocess.run(["bash", "-e"], input=capsys.readouterr().out.encode(), env=environment, check=True, timeout=60)
    name = "projects/my-project/locations/us-central1/jobs/sweep-e-7b-1"
    assert server.wait(name) == "SUCCEEDED"
    assert [task.state for task in BatchService().describe(name).tasks] == ["SUCCEEDED"] * 3
