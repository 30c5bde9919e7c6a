"""What was started on Modal, how to find it again, and whose a destination in a store is."""

import asyncio
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from experiments.concept_injection.destination import Destination
from experiments.concept_injection.paths import SweepPaths
from experiments.concept_injection.request import SweepRequest
from interp.errors import InputError, InterpError, ServiceUnavailable, SettingsChanged, ValueOutOfRange
from interp.files import write_json
from interp.records import Record, parse_record, read_record
from interp.stores import Store

FINAL = (InputError, SettingsChanged, ValueOutOfRange)
"""Errors that another attempt at the same would meet again."""

DEPLOY = "modal deploy -m experiments.concept_injection.modal_app"

State = Literal["done", "running", "failed", "expired"]


class Outcome(Record):
    """What a call on Modal returns: the files that it was to make, and the error that it is no use to try again."""

    files: tuple[str, ...]
    error: str | None = None


class SpawnedCall(Record):
    """One call: `file` is of the request, `call_id` is Modal's."""

    file: str
    function: str
    gpu: str
    call_id: str


class Spawned(Record):
    """`spawned.json`: the calls of one sweep, and what they were given."""

    app: str
    store: str
    code_hash: str
    calls: tuple[SpawnedCall, ...] = ()

    def with_call(self, call: SpawnedCall) -> "Spawned":
        return self.model_copy(update={"calls": (*self.calls, call)})

    def save(self, paths: SweepPaths) -> None:
        write_json(paths.folder / "spawned.json", self.model_dump(mode="json"))


def read_spawned(paths: SweepPaths) -> Spawned | None:
    """What was spawned of a sweep; None where nothing was."""
    path = paths.folder / "spawned.json"
    return read_record(Spawned, path) if path.exists() else None


@dataclass(frozen=True)
class CallState:
    """A call, and how it is with it; `error` is one line, empty where there is none."""

    call: SpawnedCall
    state: State
    error: str = ""

    def line(self) -> str:
        return f"{self.call.file:<16}{self.state:<9}{self.call.call_id}" + (f"  {self.error}" if self.error else "")


def call_states(calls: Sequence[SpawnedCall]) -> list[CallState]:
    """How it is with calls, asked of Modal all at once; none is waited for.

    Raises:
        ServiceUnavailable: Modal cannot be reached or refuses.
    """
    with modal_errors():
        answers = asyncio.run(_answers(calls))
        for answer in answers:
            if isinstance(answer, BaseException) and _is_about_the_connection(answer):
                raise answer
    return [_state(call, answer) for call, answer in zip(calls, answers, strict=True)]


async def _answers(calls: Sequence[SpawnedCall]) -> list[Any]:
    """What each call returned, or the exception that it ended with, or that Modal answers with."""
    import modal

    handles = [modal.FunctionCall.from_id(call.call_id) for call in calls]
    return list(await asyncio.gather(*(each.get.aio(timeout=0) for each in handles), return_exceptions=True))


def _state(call: SpawnedCall, answer: Any) -> CallState:
    import modal.exception

    if isinstance(answer, modal.exception.OutputExpiredError):
        return CallState(call, "expired", "Modal keeps results for some days only: see what the store holds")
    if isinstance(answer, modal.exception.FunctionTimeoutError):
        return CallState(call, "failed", "a day was not enough: spawn again with --force, it goes on from the store")
    if isinstance(answer, TimeoutError):
        return CallState(call, "running")
    if isinstance(answer, BaseException):
        return CallState(call, "failed", _last_line(answer))
    outcome = parse_record(Outcome, json.loads(answer), f"the result of {call.call_id}")
    return CallState(call, "failed" if outcome.error else "done", outcome.error or "")


def _last_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines() or [""]
    name = "" if isinstance(error, InterpError) else f"{type(error).__name__}: "
    return name + lines[-1]


@contextmanager
def modal_errors() -> Iterator[None]:
    """Turn what Modal's client raises into one line that says what to do.

    Raises:
        InputError: nothing is deployed.
        ServiceUnavailable: no token, a refusal, no connection.
    """
    import modal.exception

    try:
        yield
    except modal.exception.AuthError as error:
        raise ServiceUnavailable(f"Modal takes no token from here ({_first_line(error)}): run `modal setup`") from None
    except modal.exception.NotFoundError as error:
        raise InputError(f"Modal has not what is needed ({_first_line(error)}): {DEPLOY}") from None
    except modal.exception.Error as error:
        raise ServiceUnavailable(f"Modal: {_first_line(error)}; try again, or see https://status.modal.com") from None


def _is_about_the_connection(error: BaseException) -> bool:
    import modal.exception as known

    return isinstance(error, (known.AuthError, known.ConnectionError, known.ServiceError, known.PermissionDeniedError))


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")


def stored_sizes(store: Store, paths: SweepPaths) -> dict[str, int]:
    """The files of a sweep that a store holds, finished or growing, and their bytes; not what they share.

    Raises:
        StoreError: it cannot be told. That is never "nothing".
    """
    sizes = Destination(store, paths).sizes()
    return {name: size for name, size in sizes.items() if name.endswith(".jsonl")}


def claim_destination(store: Store, request: SweepRequest, force: bool = False) -> None:
    """Make a store's folder this request's; a claim is for ever.

    With `force` this very request may go on where it has files already.

    Raises:
        InputError: it holds files, and `force` is not given.
        SettingsChanged: it is another request's (names the settings that differ), or nobody knows whose.
        StoreError: it cannot be told what is there.
    """
    paths = SweepPaths.of(Path(), request)
    there = stored_sizes(store, paths)
    if there and not force:
        raise InputError(
            f"{store.url_of(paths.stored(''))} holds {len(there)} files ({next(iter(there))}, …): choose another "
            "--experiment-id, or give --force to go on from what is there"
        )
    Destination(store, paths).claim(request)
