"""Exports for LLM clients: the body of one request, and a prompt template of LangChain."""

from typing import Any

from experiments.export.source import PLACEHOLDER, Source, as_json

_MARK = "\ue001"


def messages(source: Source) -> str:
    """Return the JSON that is posted to `/v1/chat/completions`; with a prompt the very request of the run.

    Posted to the same model it gives the same reply: a JSON object whose `prompt` is the refined prompt.
    """
    return as_json(source.request(source.best["id"]))


def langchain(source: Source) -> str:
    """Return a ChatPromptTemplate with the variable `prompt`, as `langchain_core.load.load` reads it."""
    told = source.request(source.best["id"], placeholder=_MARK)["messages"]
    return as_json(
        _constructed(
            ("chat", "ChatPromptTemplate"),
            {"input_variables": ["prompt"], "messages": [_template(message) for message in told]},
        )
    )


_ROLES = {"user": "HumanMessagePromptTemplate", "system": "SystemMessagePromptTemplate"}


def _template(message: dict[str, str]) -> dict[str, Any]:
    template = message["content"].replace("{", "{{").replace("}", "}}").replace(_MARK, PLACEHOLDER)
    variables = ["prompt"] if _MARK in message["content"] else []
    prompt = {"input_variables": variables, "template": template, "template_format": "f-string"}
    return _constructed(
        ("chat", _ROLES[message["role"]]), {"prompt": _constructed(("prompt", "PromptTemplate"), prompt)}
    )


def _constructed(where: tuple[str, str], arguments: dict[str, Any]) -> dict[str, Any]:
    """Return LangChain's form of an object that is made by calling a class."""
    return {"lc": 1, "type": "constructor", "id": ["langchain", "prompts", *where], "kwargs": arguments}
