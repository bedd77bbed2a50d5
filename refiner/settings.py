"""Changing a settings record by what a file says: TOML tables and JSON objects. Imports no torch."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from core.errors import BadInput

Settings = TypeVar("Settings")


def changed(base: Settings, changes: Any, where: str) -> Settings:
    """Return a settings record (a dataclass) with some fields changed, records inside it field by field.

    Args:
        base: what holds where nothing is changed.
        changes: by field name, plain JSON types; for a record inside, a mapping of its own.
        where: the place in the file, for errors.

    Raises:
        BadInput: an unknown field, or a value of another type or out of range.
    """
    values: dict[str, Any] = {known.name: getattr(base, known.name) for known in fields(base)}  # type: ignore[arg-type]
    if not isinstance(changes, Mapping):
        raise BadInput(f"{where}: got {changes!r:.60}, expected settings out of {', '.join(values)}")
    for name, value in changes.items():
        if name not in values:
            raise BadInput(f"{where}: got the setting {name!r}, expected one of {', '.join(values)}; correct it")
        inner = values[name]
        values[name] = changed(inner, value, f"{where}.{name}") if is_dataclass(inner) else value
    try:
        return TypeAdapter(type(base)).validate_python(values)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(step) for step in (where, *first["loc"]))
        raise BadInput(
            f"{place}: got {first['input']!r:.60}, expected otherwise ({first['msg']}); correct it"
        ) from None
