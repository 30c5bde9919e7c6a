"""Submit a sweep to Google Cloud Batch, or say how a submitted one gets on.

Reads   datasets/introspection_prompts/, datasets/words/, the store (what is at the destination)
Writes  a job at Google Cloud Batch; <root>/concept_injection/<experiment id>/<model>/submitted_batch.json

One task per file: the control and each concept. Nothing is started where the destination holds a sweep already, unless
`--force`, which goes on with it if it is this very request's. `--dry-run` prints a script that submits with `gcloud`
just what would be submitted, and the costs.

Example: python -m experiments.concept_injection.cloud_batch.submit_batch --experiment-id first --model 7b \
             --store gs://bucket/sweeps --project my-project --region us-central1 \
             --image us-central1-docker.pkg.dev/my-project/sweeps/sweep:1 \
             --service-account sweeps@my-project.iam.gserviceaccount.com --dry-run
         python -m experiments.concept_injection.cloud_batch.submit_batch --experiment-id first --model 7b --status
"""

import argparse
import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from experiments.concept_injection.cloud_batch.job import BatchJob
from experiments.concept_injection.cloud_batch.placement import placement_of
from experiments.concept_injection.cloud_batch.service import BatchService
from experiments.concept_injection.cloud_batch.submitted import NOTE, read_submitted, status_lines, submit
from experiments.concept_injection.machines import cost_table, gpu_of
from experiments.concept_injection.options import read_request, sweep_options
from experiments.concept_injection.paths import SweepPaths
from experiments.concept_injection.prompts import check_baseline, read_prompt, read_words
from experiments.concept_injection.request import SweepRequest
from interp import cli
from interp.errors import InputError
from interp.judges.options import SCRIPTED, judge_options
from interp.records import parse_record

_ON_DEMAND = "on demand  the prices above are those of spot machines: expect two to four times as much"
_NEEDED = ("project", "region", "image", "store", "service_account")


def read_job(args: argparse.Namespace, request: SweepRequest) -> BatchJob:
    """The job that the options describe.

    Raises:
        InputError: something is missing or wrong; one line that says which option.
    """
    missing = [f"--{name.replace('_', '-')}" for name in _NEEDED if getattr(args, name) is None]
    if missing:
        raise InputError(f"a job needs {', '.join(missing)}")
    _check_runs_elsewhere(request)
    _check_judge(args)
    placement = placement_of(gpu_of(request, args.gpu).name)
    tasks = min(args.tasks or len(request.files), len(request.files))
    return parse_record(
        BatchJob,
        {
            "job_id": args.job_id or _job_id(request, len(read_submitted(SweepPaths.of(args.root, request)).jobs)),
            "project": args.project, "region": args.region, "zones": tuple(args.zones or ()), "image": args.image,
            "service_account": args.service_account, "machine_type": args.machine_type or placement.machine_type,
            "disk_gb": args.disk_gb or placement.disk_gb, "spot": not args.on_demand,
            "boot_image": args.boot_image, "driver_version": args.driver_version, "task_count": tasks,
            "parallelism": args.parallelism or tasks, "max_retries": args.max_retries,
            "max_seconds": round(args.max_hours * 3600), "labels": {**_labels(request), **dict(args.label)},
            "secrets": dict(args.secret), "request": request, "store": args.store, "upload_every": args.upload_every,
            "judge_options": judge_flags(args),
        },
        "the job's options",
    )  # fmt: skip


def submission_script(job: BatchJob, costs: str) -> str:
    """A shell script that submits a job with `gcloud`; the costs stand above it as a comment."""
    command = [
        "gcloud", "batch", "jobs", "submit", job.job_id, f"--project={job.project}", f"--location={job.region}",
        "--config=-",
    ]  # fmt: skip
    comment = "".join(f"# {line}".rstrip() + "\n" for line in costs.splitlines())
    return f"{comment}{shlex.join(command)} <<'JOB'\n{job.as_json().decode()}JOB\n"


def judge_flags(args: argparse.Namespace) -> tuple[str, ...]:
    """The judge's options as they were given, for a task's command line; those with their defaults are left out."""
    flags: list[str] = []
    for action in judge_options()._actions:
        value = getattr(args, action.dest, action.default)
        if action.dest == "help" or value == action.default:
            continue
        flags += [action.option_strings[0]] if action.nargs == 0 else [action.option_strings[0], str(value)]
    return tuple(flags)


def _check_runs_elsewhere(request: SweepRequest) -> None:
    """What can be known to be wrong before a machine is paid for."""
    if Path(request.model_id).is_absolute() or Path(request.model_id).is_dir():
        raise InputError(f"{request.model_id} is a folder of this machine, which a container has not: give a hub id")
    read_prompt(request.prompt_version)
    check_baseline(read_words(request.baseline), request.concepts, request.baseline)


def _check_judge(args: argparse.Namespace) -> None:
    if args.prices is not None:
        raise InputError("--prices is a file of this machine, which a container has not; leave it out")
    if not args.judge or args.judge.startswith(SCRIPTED):
        return
    host = urlsplit(args.base_url or "https://api.openai.com").hostname or ""
    variable = "OPENROUTER_API_KEY" if host.endswith("openrouter.ai") else "OPENAI_API_KEY"
    if host.endswith(("openai.com", "openrouter.ai")) and variable not in dict(args.secret):
        raise InputError(
            f"--judge {args.judge} needs a key there: --secret {variable}=projects/PROJECT/secrets/NAME/versions/latest"
        )


def _job_id(request: SweepRequest, before: int) -> str:
    """Of the sweep's name and how many jobs it had here: the same command, run twice at once, makes one job."""
    text = re.sub(r"[^a-z0-9]+", "-", f"{request.experiment_id}-{request.model_name}".lower()).strip("-")
    return f"sweep-{text[:50].strip('-')}-{before + 1}"


def _labels(request: SweepRequest) -> dict[str, str]:
    names = {"study": "concept-injection", "experiment": request.experiment_id, "model": request.model_name}
    return {name: re.sub(r"[^a-z0-9_-]", "-", value.lower())[:63] for name, value in names.items()}


def _pair(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    if not name or not value:
        raise argparse.ArgumentTypeError("write NAME=VALUE")  # not the text: it may be a secret
    return name, value


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=[sweep_options(), judge_options()],
    )
    group = parser.add_argument_group("Google Cloud Batch")
    add = group.add_argument
    add("--project", help="its id")
    add("--region", help="of the machines, such as us-central1")
    add("--zones", nargs="+", metavar="ZONE", help="of the region (default: any)")
    add("--image", help="HOST/PATH/NAME:TAG, as pushed")
    add("--store", metavar="URL", help="gs://bucket/prefix; fetched first, uploaded to as files grow")
    add("--service-account", metavar="EMAIL", help="that the machines act as")
    add(
        "--secret", type=_pair, action="append", default=[], metavar="NAME=projects/P/secrets/S/versions/V",
        help="a secret of Secret Manager as an environment variable; may be repeated",
    )
    add("--gpu", help="L4, A100-40GB, A100-80GB (default: by the model's size)")
    add("--machine-type", help="default: by the GPU")
    add("--disk-gb", type=cli.positive, metavar="GB", help="boot disk: system, image, weights (default: by the GPU)")
    add("--boot-image", choices=("batch-cos", "batch-debian"), help="of the machines (default: Batch chooses)")
    add("--driver-version", metavar="V", help="of NVIDIA's driver, such as 580.95.05 (default: what Batch installs)")
    add("--on-demand", action="store_true", help="machines that are not taken away, at full price (default: spot)")
    add("--tasks", type=cli.positive, metavar="N", help="tasks that share the files (default: one per file)")
    add("--parallelism", type=cli.positive, metavar="N", help="tasks at one time (default: all)")
    add("--max-retries", type=int, default=10, metavar="N", help="of a task that was pre-empted, 0 to 10 (default: 10)")
    add("--max-hours", type=cli.positive_number, default=12.0, metavar="H", help="of a task (default: 12)")
    add("--label", type=_pair, action="append", default=[], metavar="NAME=VALUE", help="may be repeated")
    add("--upload-every", type=cli.positive, default=50, metavar="N", help="trials between uploads (default: 50)")
    add("--job-id", help="default: made of the sweep's name")
    add("--force", action="store_true", help="go on with what is at the destination, if this request began it")
    add("--dry-run", action="store_true", help="print the costs, the gcloud command and the job, and end")
    add("--status", action="store_true", help="how the last job of this sweep gets on")
    return parser


def print_status(paths: SweepPaths) -> None:
    jobs = read_submitted(paths).jobs
    if not jobs:
        raise InputError(f"no job is noted in {paths.folder / NOTE}: submit one, or ask `gcloud batch jobs list`")
    print("\n".join(status_lines(jobs[-1], paths, BatchService())))


def main(argv: Sequence[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    request = read_request(args)
    paths = SweepPaths.of(args.root, request)
    if args.status:
        print_status(paths)
        return 0
    job = read_job(args, request)
    costs = cost_table(request, "google_batch", args.gpu).text() + ("" if job.spot else f"\n{_ON_DEMAND}")
    if args.dry_run:
        print(submission_script(job, costs), end="")
        return 0
    print(costs)
    submitted = submit(job, paths, args.force)
    print(f"submitted {submitted.name}: {job.task_count} tasks on {job.machine_type}")
    print(f"follow it: the same command with --status, or gcloud batch jobs describe {job.job_id} "
          f"--project={job.project} --location={job.region}")  # fmt: skip
    return 0


if __name__ == "__main__":
    cli.run(main)
