"""Makes room on the GPU: asks a local Ollama server to unload the LLM before pictures are drawn."""

import asyncio
import os
from collections.abc import Callable, Mapping
from typing import Any

LOCAL = "http://localhost:11434"
_SECONDS = 10.0
_PROVIDERS = frozenset({"ollama", "ollama_chat"})


def ollama_address(model: str, api_base: str | None, environ: Mapping[str, str] | None = None) -> str | None:
    """Return where an Ollama server would listen, or None for a model that is not behind an address of the user's."""
    if api_base is not None:
        return api_base.rstrip("/").removesuffix("/v1")
    keys = os.environ if environ is None else environ
    return keys.get("OLLAMA_API_BASE", LOCAL).rstrip("/") if model.partition("/")[0] in _PROVIDERS else None


class OllamaUnloader:
    """Unloads one model, if its server is Ollama; otherwise it says so once and does nothing. No key is sent."""

    def __init__(self, model: str, address: str | None, *, warn: Callable[[str], None]) -> None:
        provider, _, name = model.partition("/")
        self._model = name if provider in {"openai", *_PROVIDERS} else model
        self._address = address
        self._warn = warn
        self._given_up = False

    async def __call__(self) -> None:
        """Unload the model and wait until it has left the memory (at most ten seconds). Never fails: it warns."""
        if self._given_up:
            return
        problem = await self._unload() if self._address else "the LLM is not behind an address of yours"
        if problem:
            self._given_up = True
            self._warn(
                f"--free-llm-vram does nothing: {problem}; the LLM may still hold memory while pictures are drawn"
            )

    async def _unload(self) -> str:
        """Return what went wrong, or ""."""
        import httpx

        try:
            async with httpx.AsyncClient(
                base_url=self._address or "", timeout=_SECONDS, follow_redirects=False
            ) as http:
                if not isinstance((await _json(http.get("/api/version"))).get("version"), str):
                    return f"{self._address} is not an Ollama server"
                answer = await http.post("/api/generate", json={"model": self._model, "keep_alive": 0, "stream": False})
                if answer.status_code != 200:
                    return f"{self._address} answered {answer.status_code} to unloading {self._model}"
                return await asyncio.wait_for(self._gone(http), _SECONDS)
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
            return f"{self._address} did not unload {self._model} ({type(error).__name__})"

    async def _gone(self, http: Any) -> str:
        """Wait until the server no longer lists the model as loaded."""
        name = self._model if ":" in self._model else f"{self._model}:latest"
        while True:
            loaded = (await _json(http.get("/api/ps"))).get("models")
            names = {str(entry.get("name")) for entry in loaded or () if isinstance(entry, dict)}
            if not names & {name, self._model}:
                return ""
            await asyncio.sleep(0.2)


async def _json(sending: Any) -> dict[str, Any]:
    """Return the JSON object of a response; {} for anything else."""
    response = await sending
    try:
        value = response.json() if response.status_code == 200 else {}
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
