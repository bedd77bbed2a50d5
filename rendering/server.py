"""Talking to a rendering server over HTTP: one host, JSON, retries on lost connections, every failure in one line."""

import json
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from core.errors import BadInput, BrushupError
from core.records import RenderRequest, RenderResult, UnreadEnd
from core.text import one_line
from rendering.checks import unencodable
from rendering.negative import with_fixed

LARGEST_REPLY = 128 * 1024**2
"""Bytes."""
_PAUSES = (0.5, 1.0, 2.0, 4.0)
"""Seconds before the second, third, ... attempt."""
_BUSY = frozenset({429, 502, 503, 504})


class ServerFailure(Exception):
    """The server answered, or was too slow, and the answer cannot be used; its text is one line."""


class Unreachable(ServerFailure):
    """There was no connection, or it was lost, in every attempt."""


@dataclass(frozen=True)
class Reply:
    """An HTTP reply with its whole body."""

    status: int
    content: bytes


class Server:
    """One server that the user named.

    Only its address is contacted: redirects are not followed, proxies and credentials of the environment are not used.
    """

    def __init__(self, address: str, *, timeout: float, sleep: Callable[[float], None] = time.sleep) -> None:
        """Check the address; nothing is sent.

        Args:
            address: http or https URL.
            timeout: seconds that one request may take, its reply included.
            sleep: waits between attempts.

        Raises:
            BadInput: not such an address.
        """
        self.address = checked_address(address)
        self._timeout = timeout
        self._sleep = sleep
        self._http = httpx.Client(follow_redirects=False, trust_env=False)

    def get(self, path: str, query: Mapping[str, str] | None = None, *, timeout: float | None = None) -> bytes:
        """Return the body of a 200 reply.

        Raises:
            ServerFailure: anything else.
        """
        return self._checked("GET", path, timeout, params=query)

    def get_json(self, path: str, query: Mapping[str, str] | None = None) -> Any:
        """Return a JSON document.

        Raises:
            ServerFailure: anything else.
        """
        return _parsed(self.get(path, query), path)

    def post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Send JSON and return the JSON object that comes back.

        Raises:
            ServerFailure: anything else.
        """
        value = _parsed(self._checked("POST", path, None, json=body), path)
        if not isinstance(value, dict):
            raise ServerFailure(f"POST {path} was answered with {type(value).__name__}, expected a JSON object")
        return value

    def _checked(self, method: str, path: str, timeout: float | None, **sent: Any) -> bytes:
        reply = self._with_retries(method, path, self._timeout if timeout is None else timeout, sent)
        if reply.status != 200:
            raise ServerFailure(f"{method} {path} was answered with HTTP {reply.status}{_detail(reply.content)}")
        return reply.content

    def _with_retries(self, method: str, path: str, timeout: float, sent: dict[str, Any]) -> Reply:
        """Send until there is an answer; a slow answer is not asked for again, because the server is still drawing."""
        pauses = iter(_PAUSES)
        while True:
            try:
                reply = self._send(method, path, timeout, sent)
                problem: Exception | None = None
            except (httpx.ReadTimeout, httpx.WriteTimeout, httpx.PoolTimeout):
                raise ServerFailure(f"{method} {path} was not answered within {timeout:g} s") from None
            except httpx.TransportError as error:
                problem = error
            pause = next(pauses, None)
            if problem is None and (reply.status not in _BUSY or pause is None):
                return reply
            if pause is None:
                raise Unreachable(f"{self.address} cannot be reached ({one_line(problem)})") from None
            self._sleep(pause)

    def _send(self, method: str, path: str, timeout: float, sent: dict[str, Any]) -> Reply:
        deadline, content = time.monotonic() + timeout, bytearray()
        limits = httpx.Timeout(timeout, connect=min(timeout, 10.0))
        with self._http.stream(method, self.address + path, timeout=limits, **sent) as response:
            for piece in response.iter_bytes():
                content += piece
                if len(content) > LARGEST_REPLY:
                    raise ServerFailure(f"{method} {path} was answered with more than {LARGEST_REPLY} bytes")
                if time.monotonic() > deadline:
                    raise httpx.ReadTimeout("")
            return Reply(response.status_code, bytes(content))


class ServerRenderer(ABC):
    """The half of a `core.interfaces.Renderer` that all servers share: one picture a request, failures as data."""

    name: str
    chunk: int
    settings: Mapping[str, object]
    notes: tuple[str, ...] = ()
    reads_negative = True
    window: int | None = None

    def unread(self, prompt: str) -> UnreadEnd:  # noqa: ARG002 - a server does not say what its text encoder reads
        """Know nothing."""
        return UnreadEnd()

    def render(self, requests: Sequence[RenderRequest]) -> list[RenderResult]:
        """Draw at most `chunk` requests, one after the other.

        Raises:
            ValueError: more than `chunk` requests.
            BrushupError: the server is gone.
        """
        if len(requests) > self.chunk:
            raise ValueError(f"{len(requests)} requests for a chunk of {self.chunk}")
        return [self._result(request) for request in requests]

    def _result(self, request: RenderRequest) -> RenderResult:
        error = unencodable(request)
        if error:
            return RenderResult(None, error)
        try:
            return self._draw(with_fixed(request, self.settings))
        except Unreachable as lost:
            raise gone(self.name, lost) from None
        except ServerFailure as failure:
            return RenderResult(None, str(failure))

    @abstractmethod
    def _draw(self, request: RenderRequest) -> RenderResult:
        """Ask the server for one picture.

        Raises:
            ServerFailure: no usable answer.
        """


def checked_address(address: str) -> str:
    """Return a server's address without a slash at its end.

    Raises:
        BadInput: not a plain http or https URL, or one with a password in it, which would be stored.
    """
    try:
        url = httpx.URL(address)
    except (httpx.InvalidURL, TypeError):
        url = httpx.URL("")
    plain = url.scheme in ("http", "https") and url.host and not url.query and not url.fragment
    if not plain or url.userinfo:
        shown = "an address with a password in it" if url.userinfo else repr(address)
        raise BadInput(f"--renderer: got {shown}, expected a server like http://127.0.0.1:7860")
    return str(url).rstrip("/")


def no_renderer(name: str, error: ServerFailure) -> BadInput:
    """Return the error of a server that cannot be used from the start."""
    return BadInput(f"renderer {name}: {error}; start the server (A1111 needs its flag --api), or check --renderer")


def gone(name: str, error: Unreachable) -> BrushupError:
    """Return the error that ends a run: a server that is gone would turn every further picture into a failed one."""
    return BrushupError(f"renderer {name}: {error}; start the server again, then `brushup resume` the run")


def _parsed(content: bytes, path: str) -> Any:
    try:
        return json.loads(content)
    except ValueError:
        raise ServerFailure(f"{path} was answered with something that is not JSON ({one_line(content[:40])})") from None


def _detail(content: bytes) -> str:
    """Return what a server says about its error, in the shapes of FastAPI, A1111 and ComfyUI."""
    try:
        body = json.loads(content)
    except ValueError:
        return ""
    found = (body.get("detail") or body.get("errors") or body.get("error")) if isinstance(body, dict) else None
    if isinstance(found, dict):
        found = found.get("message")
    return f": {one_line(found)}" if found else ""
