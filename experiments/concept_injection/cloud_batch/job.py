"""A job of Google Cloud Batch that runs a sweep: checked here for what the service would only find hours later.

Google's parser takes an upper-case label, 99 retries, an A100 on a machine for L4s or a key in place of a secret's
name. This record does not, and `as_json` then gives just the JSON that the service and `gcloud` take.
"""

import re
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from experiments.concept_injection.cloud_batch.placement import MACHINE_TYPES
from experiments.concept_injection.request import SweepRequest
from interp.files import json_bytes
from interp.records import Record

REQUEST, STORE, UPLOAD_EVERY = "SWEEP_REQUEST", "SWEEP_STORE", "SWEEP_UPLOAD_EVERY"
"""Environment variables of a task, beside Batch's own BATCH_TASK_INDEX and BATCH_TASK_COUNT."""

PREEMPTED = 50001
LOST_MACHINE = (PREEMPTED, 50002, 50003, 50006)
"""Batch's own exit codes: a spot machine was taken away, fell silent, was rebooted, was made anew."""
RETRYABLE = 75
"""The exit status of a task that asks to be started again (EX_TEMPFAIL)."""
KILLED = (137, 143)
"""A container that was killed before it could say anything: its machine was on its way out, or out of memory."""
RETRIED = (*LOST_MACHINE, RETRYABLE, *KILLED)
"""All of them stand in one policy; what fails otherwise is final."""

LARGEST_REQUEST = 64 * 1024
"""Bytes of a request; Linux holds no environment variable above 128 KiB, Batch no job above 1 MB."""
LARGEST_JOB = 1_000_000
LONGEST_SECONDS = 14 * 24 * 3600
"""A job that runs for longer is ended by Batch."""
STOP_SECONDS = 30
"""What a spot machine has left when it is taken away."""

_JOB_ID = re.compile(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?")
_PROJECT = re.compile(r"([a-z0-9.-]+:)?[a-z][a-z0-9-]{4,28}[a-z0-9]")
_REGION = re.compile(r"[a-z]+-[a-z]+\d+")
_IMAGE = re.compile(r"[a-z0-9.-]+(:\d+)?(/[a-z0-9._-]+)+(:[A-Za-z0-9_][A-Za-z0-9._-]{0,127}|@sha256:[0-9a-f]{64})")
_ACCOUNT = re.compile(r"[a-z0-9._-]+@[a-z0-9.-]+\.gserviceaccount\.com")
_LABEL, _LABEL_VALUE = re.compile(r"[a-z][a-z0-9_-]{0,62}"), re.compile(r"[a-z0-9_-]{0,63}")
_DRIVER = re.compile(r"\d+(\.\d+){1,2}")
_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]*")
_SECRET = re.compile(r"projects/[^/\s]+/secrets/[A-Za-z0-9_-]{1,255}/versions/[A-Za-z0-9_-]+")
_OWN = ("BATCH_", "SWEEP_")


class BatchJob(Record):
    """A sweep as one job: a task per file (or per share of the files), each on a machine of its own with one GPU.

    Attributes:
        image: with a tag or a digest; one that does not move is safer, since a retried task pulls it again.
        zones: of the region, where not all have the GPU; empty: any of them.
        boot_image, driver_version: of the machines; None: Google's choice, whose driver may be too old for the image.
        task_count: at most one per file of the request; task i does shard i/n of the files.
        max_retries: of each task, after any of RETRIED.
        max_seconds: of each task.
        secrets: environment variable → `projects/P/secrets/S/versions/V`; a value itself is refused.
        judge_options: as on the command line (`--judge MODEL …`); empty to judge later.
        upload_every: trials that a lost machine loses, at most (and the batch in hand).
    """

    job_id: str
    project: str
    region: str
    zones: tuple[str, ...] = ()
    image: str
    service_account: str
    machine_type: str
    disk_gb: int = Field(ge=50, le=65_536)
    boot_image: Literal["batch-cos", "batch-debian"] | None = None
    driver_version: str | None = None
    spot: bool = True
    task_count: int = Field(ge=1)
    parallelism: int = Field(ge=1)
    max_retries: int = Field(default=10, ge=0, le=10)
    max_seconds: int = Field(default=12 * 3600, ge=60, le=LONGEST_SECONDS)
    labels: dict[str, str] = Field(default_factory=dict)
    secrets: dict[str, str] = Field(default_factory=dict)
    request: SweepRequest
    store: str
    upload_every: int = Field(default=50, ge=1)
    judge_options: tuple[str, ...] = ()

    @field_validator("job_id")
    @classmethod
    def _job_id_is_one(cls, value: str) -> str:
        return _match(_JOB_ID, value, "lower-case letters, digits and '-', a letter first, at most 63")

    @field_validator("project")
    @classmethod
    def _project_is_one(cls, value: str) -> str:
        return _match(_PROJECT, value, "a project's id such as my-project-123, not its number or title")

    @field_validator("region")
    @classmethod
    def _region_is_one(cls, value: str) -> str:
        return _match(_REGION, value, "a region such as us-central1 (zones are an option of their own)")

    @field_validator("image")
    @classmethod
    def _image_has_a_tag(cls, value: str) -> str:
        return _match(_IMAGE, value, "an image with its registry and a tag or digest, as HOST/PATH/NAME:TAG")

    @field_validator("service_account")
    @classmethod
    def _account_is_one(cls, value: str) -> str:
        return _match(_ACCOUNT, value, "a service account's address, which ends in .gserviceaccount.com")

    @field_validator("machine_type")
    @classmethod
    def _machine_is_known(cls, value: str) -> str:
        if value not in MACHINE_TYPES:
            raise ValueError(f"{value!r} is no machine type with one GPU; known are {', '.join(MACHINE_TYPES)}")
        return value

    @field_validator("driver_version")
    @classmethod
    def _driver_is_a_version(cls, value: str | None) -> str | None:
        return None if value is None else _match(_DRIVER, value, "a version of NVIDIA's driver such as 580.95.05")

    @field_validator("labels")
    @classmethod
    def _labels_are_lower_case(cls, value: dict[str, str]) -> dict[str, str]:
        for name, text in value.items():
            if not _LABEL.fullmatch(name) or not _LABEL_VALUE.fullmatch(text) or name.startswith("goog"):
                raise ValueError(
                    f"{name}={text} is no label: lower-case letters, digits, '_' and '-', at most 63, a letter first; "
                    "goog… is Google's"
                )
        return value

    @field_validator("secrets")
    @classmethod
    def _secrets_are_names(cls, value: dict[str, str]) -> dict[str, str]:
        """The refused value stays out of the message: it may be the secret itself."""
        for name, where in value.items():
            if not _VARIABLE.fullmatch(name) or name.startswith(_OWN):
                raise ValueError(f"{name!r} is no environment variable for a secret: write OPENAI_API_KEY, say")
            if not _SECRET.fullmatch(where):
                raise ValueError(f"{name} must name a secret: projects/PROJECT/secrets/NAME/versions/latest")
        return value

    @field_validator("store")
    @classmethod
    def _store_is_remote(cls, value: str) -> str:
        if not value.startswith(("gs://", "s3://")):
            raise ValueError(f"{value!r} is not reached from a machine in the cloud: give gs://… or s3://…")
        return value.rstrip("/")

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        files = len(self.request.files)
        if self.task_count > files:
            raise ValueError(f"{self.task_count} tasks for {files} files: at most one per file")
        if self.parallelism > self.task_count:
            raise ValueError(f"parallelism {self.parallelism} is more than the {self.task_count} tasks that there are")
        wrong = [zone for zone in self.zones if not re.fullmatch(rf"{re.escape(self.region)}-[a-z]", zone)]
        if wrong:
            raise ValueError(f"{wrong[0]!r} is no zone of {self.region}: write {self.region}-a, for instance")
        if len(self.request_json.encode()) > LARGEST_REQUEST:
            raise ValueError(f"the request has over {LARGEST_REQUEST} bytes of JSON: make two sweeps of it")
        if len(self.as_json()) > LARGEST_JOB:
            raise ValueError(f"the job has over {LARGEST_JOB} bytes of JSON, which Batch does not take")
        return self

    @property
    def parent(self) -> str:
        return f"projects/{self.project}/locations/{self.region}"

    @property
    def name(self) -> str:
        """By which the service knows it."""
        return f"{self.parent}/jobs/{self.job_id}"

    @property
    def request_json(self) -> str:
        return self.request.model_dump_json()

    @property
    def environment(self) -> dict[str, str]:
        """What every task is told; its index comes from Batch."""
        return {REQUEST: self.request_json, STORE: self.store, UPLOAD_EVERY: str(self.upload_every)}

    def as_dict(self) -> dict[str, Any]:
        """The body of `jobs.create`, and the content of `gcloud batch jobs submit --config`."""
        group = {
            "taskSpec": self._task_spec(), "taskCount": self.task_count, "parallelism": self.parallelism,
            "taskCountPerNode": 1,
        }  # fmt: skip
        labels = {"labels": self.labels} if self.labels else {}
        return {
            "taskGroups": [group], "allocationPolicy": self._allocation(), **labels,
            "logsPolicy": {"destination": "CLOUD_LOGGING"},
        }  # fmt: skip

    def as_json(self) -> bytes:
        return json_bytes(self.as_dict())

    def _task_spec(self) -> dict[str, Any]:
        machine = MACHINE_TYPES[self.machine_type]
        container = {
            "imageUri": self.image, "commands": list(self.judge_options),
            "options": f"--stop-timeout={STOP_SECONDS}",
        }  # fmt: skip
        secrets = {"secretVariables": self.secrets} if self.secrets else {}
        return {
            "runnables": [{"container": container}],
            "computeResource": {"cpuMilli": machine.vcpus * 1000, "memoryMib": machine.memory_gib * 1024 * 3 // 4},
            "maxRunDuration": f"{self.max_seconds}s",
            "maxRetryCount": self.max_retries,
            "lifecyclePolicies": [{"action": "RETRY_TASK", "actionCondition": {"exitCodes": list(RETRIED)}}],
            "environment": {"variables": self.environment, **secrets},
        }

    def _allocation(self) -> dict[str, Any]:
        machine = MACHINE_TYPES[self.machine_type]
        driver = {"driverVersion": self.driver_version} if self.driver_version else {}
        image = {"image": self.boot_image} if self.boot_image else {}
        policy = {
            "machineType": self.machine_type,
            "provisioningModel": "SPOT" if self.spot else "STANDARD",
            "accelerators": [{"type": machine.accelerator, "count": 1, **driver}],
            "bootDisk": {"sizeGb": self.disk_gb, **image},
        }
        places = [f"zones/{zone}" for zone in self.zones] or [f"regions/{self.region}"]
        return {
            "instances": [{"policy": policy, "installGpuDrivers": True}],
            "location": {"allowedLocations": places},
            "serviceAccount": {"email": self.service_account},
        }


def _match(pattern: re.Pattern[str], value: str, wanted: str) -> str:
    if not pattern.fullmatch(value):
        raise ValueError(f"{value!r} will not do: write {wanted}")
    return value
