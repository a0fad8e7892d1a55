"""A settings form from a JSON Schema, and an env from what the form sends."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Field:
    """One input of the form; ``value`` is empty for a secret, always."""

    key: str
    kind: str
    title: str
    description: str
    value: str
    problem: str
    required: bool
    stored: bool
    choices: tuple[str, ...] = ()


def fields(
    schema: Mapping[str, Any],
    values: Mapping[str, str | None],
    stored: Mapping[str, str],
    problems: Mapping[str, str],
) -> list[Field]:
    """The inputs for ``schema``, filled with ``values``; ``stored`` is the env, masked."""
    return [
        _field(key, _resolved(schema, part), schema, values, stored, problems)
        for key, part in schema["properties"].items()
    ]


def env(schema: Mapping[str, Any], posted: Mapping[str, str]) -> dict[str, str | None]:
    """What to ``configure``: an empty secret keeps the stored one, any other empty field removes its key."""
    found: dict[str, str | None] = {}
    for key, part in schema["properties"].items():
        kind, value = _kind(_resolved(schema, part)), posted.get(key, "").strip()
        if kind == "checkbox":
            found[key] = "true" if value else "false"
        elif value or kind != "password":
            found[key] = value or None
    return found


def _field(
    key: str,
    part: Mapping[str, Any],
    schema: Mapping[str, Any],
    values: Mapping[str, str | None],
    stored: Mapping[str, str],
    problems: Mapping[str, str],
) -> Field:
    kind = _kind(part)
    value = values.get(key, str(part.get("default", "")))
    return Field(
        key=key,
        kind=kind,
        title=part.get("title", key),
        description=part.get("description", ""),
        value="" if kind == "password" or value is None else value,
        problem=problems.get(key, ""),
        required=key in schema.get("required", ()),
        stored=key in stored,
        choices=tuple(map(str, part.get("enum", ()))),
    )


def _kind(part: Mapping[str, Any]) -> str:
    if part.get("writeOnly"):
        return "password"
    if "enum" in part:
        return "select"
    return {"boolean": "checkbox", "integer": "number"}.get(part.get("type", ""), "text")


def _resolved(schema: Mapping[str, Any], part: Mapping[str, Any]) -> dict[str, Any]:
    """``part`` with what it refers to, and of several types the first that is not null."""
    merged = dict(part)
    if "anyOf" in part:
        merged |= next(other for other in part["anyOf"] if other.get("type") != "null")
    if "$ref" in merged:
        merged = schema["$defs"][merged["$ref"].rpartition("/")[2]] | merged
    return merged
