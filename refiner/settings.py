"""Changing a settings record by what a file says: TOML tables and JSON objects. Imports no torch."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar, get_args, get_type_hints

from pydantic import TypeAdapter, ValidationError

from core.errors import BadInput

Settings = TypeVar("Settings")


def changed(base: Settings, changes: Any, where: str) -> Settings:
    """Return a settings record (a dataclass) with some fields changed, records inside it field by field.

    Args:
        base: what holds where nothing is changed.
        changes: by field name, plain JSON types; for a record inside, a mapping of its own. Where a record may be
            None, a mapping changes its defaults if there is none, and None takes it away.
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
        inner, optional = values[name], _optional(base, name)
        if optional and inner is None:
            inner = optional()
        inside = is_dataclass(inner) and not (optional and value is None)
        values[name] = changed(inner, value, f"{where}.{name}") if inside else value
    try:
        return TypeAdapter(type(base)).validate_python(values)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(step) for step in (where, *first["loc"]))
        raise BadInput(
            f"{place}: got {first['input']!r:.60}, expected otherwise ({first['msg']}); correct it"
        ) from None


def _optional(base: Any, name: str) -> type[Any] | None:
    """Return the record that a field holds if it may also be None; None for every other field."""
    kinds: tuple[Any, ...] = get_args(get_type_hints(type(base))[name])
    return (
        next((kind for kind in kinds if isinstance(kind, type) and is_dataclass(kind)), None)
        if type(None) in kinds
        else None
    )
