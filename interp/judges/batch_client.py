"""The few calls that a provider's Batch API needs."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from interp.judges.answers import JudgeUnavailable
from interp.judges.openai_judge import Endpoint
from interp.judges.replies import plain

Result = TypeVar("Result")

_RETRIES = 5
_FILE_TIMEOUT = 600.0


@dataclass(frozen=True)
class Batch:
    """What a provider says of a batch."""

    status: str
    output_file_id: str | None
    error_file_id: str | None


class BatchClient:
    """The Batch API of an endpoint. Calls are repeated a few times where that may help.

    Raises:
        JudgeUnavailable: from every method, when the provider cannot be reached or refuses.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        from openai import OpenAI

        self._endpoint = endpoint
        self._client = OpenAI(
            api_key=endpoint.key or "none", base_url=endpoint.base_url, max_retries=_RETRIES, timeout=_FILE_TIMEOUT
        )

    def upload(self, path: Path) -> str:
        """Hand a file of requests over; its id."""
        content = (path.name, path.read_bytes())
        return self._try(lambda: self._client.files.create(file=content, purpose="batch").id)

    def create_batch(self, file_id: str, url: str) -> str:
        """Have the requests of a file answered within a day; the batch's id. Not repeated: it might be made twice."""
        client = self._client.with_options(max_retries=0)
        return self._try(
            lambda: client.batches.create(input_file_id=file_id, endpoint=url, completion_window="24h").id  # type: ignore[arg-type]
        )

    def find_batch(self, file_id: str) -> str | None:
        """The batch that was made of a file before."""
        batches = self._client.batches
        return self._try(
            lambda: next((batch.id for batch in batches.list(limit=100) if batch.input_file_id == file_id), None)
        )

    def batch(self, batch_id: str) -> Batch:
        """How far a batch is."""
        found = self._try(lambda: self._client.batches.retrieve(batch_id))
        return Batch(found.status, found.output_file_id, found.error_file_id)

    def lines(self, *file_ids: str | None) -> Iterator[bytes]:
        """The lines of result files, one file after the other."""
        for file_id in file_ids:
            if file_id is not None:
                content = self._try(lambda name=file_id: self._client.files.content(name).content)  # type: ignore[misc]
                yield from (line for line in content.split(b"\n") if line)

    def _try(self, call: Callable[[], Result]) -> Result:
        from openai import APIError

        try:
            return call()
        except APIError as error:
            words = plain(str(error).replace(self._endpoint.key or "\0", "[key]"))
            raise JudgeUnavailable(f"the Batch API: {words}; the same command goes on from here") from None
