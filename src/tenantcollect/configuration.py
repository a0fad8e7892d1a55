"""A tenant's env against the model its data source declares (floor: contracts, pure).

No message repeats a value that was given: what is wrong with a token must not show the token (G6).
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from difflib import get_close_matches
from typing import Any, get_args, get_origin

from pydantic import AliasChoices, AliasPath, BaseModel, Secret, SecretBytes, SecretStr, ValidationError
from pydantic.fields import FieldInfo

from tenantcollect.errors import ConfigurationError
from tenantcollect.secrets import Masker
from tenantcollect.telling import words

__all__ = ["WHOLE", "config_schema", "declared_keys", "secret_keys", "validated"]

Model = type[BaseModel] | None
WHOLE = "*"
"""The field of a problem that belongs to no single key."""
UNDECLARED = {"type": "string", "format": "password", "writeOnly": True}


def validated(
    model: Model, env: Mapping[str, str], *, data_source: str = "", secrets: Iterable[str] = ()
) -> BaseModel | None:
    """``env``, typed by ``model``; None if there is no model. ``secrets`` are keys that were marked so.

    Raises :class:`ConfigurationError` whose ``fields`` name every wrong, missing or unknown key.
    """
    if model is None:
        return None
    unknown = {} if _open(model) else _unknown(model, env)
    try:
        config = model.model_validate({key: value for key, value in env.items() if key not in unknown})
    except ValidationError as error:
        problems = _problems(error)
    except ConfigurationError as error:
        problems = [(key, text) for key, text in error.fields.items()] or [(WHOLE, str(error))]
    except Exception as error:  # noqa: BLE001 - a validator's own bug; its traceback may hold the values
        problems = [(WHOLE, f"{model.__name__} raised {type(error).__name__}: {words(error)}")]
    else:
        if not unknown:
            return config
        problems = []
    fields = unknown | _masked(problems, env, secret_keys(model, env).union(secrets))
    raise ConfigurationError(_summary(data_source, fields), fields=fields) from None


def secret_keys(model: Model, env_keys: Iterable[str]) -> set[str]:
    """Which of ``env_keys`` are secret: declared as such, or not declared at all."""
    declared = declared_keys(model)
    return {key for key in env_keys if key not in declared or _is_secret(declared[key].annotation)}


def config_schema(model: Model) -> dict[str, Any]:
    """The JSON Schema that a form is rendered from; secrets have ``format: password`` and ``writeOnly``."""
    if model is None:
        return {"type": "object", "properties": {}, "additionalProperties": dict(UNDECLARED)}
    schema = model.model_json_schema()
    schema["additionalProperties"] = dict(UNDECLARED) if _open(model) else False
    return schema


def declared_keys(model: Model) -> dict[str, FieldInfo]:
    """The env keys that ``model`` reads, by alias where it has one."""
    fields = model.model_fields if model else {}
    return {key: field for name, field in fields.items() for key in _keys(model, name, field)}


def _keys(model: Model, name: str, field: FieldInfo) -> Iterator[str]:
    settings: Mapping[str, Any] = model.model_config if model else {}
    alias = field.validation_alias
    by_name = settings.get("validate_by_name") or settings.get("populate_by_name")
    if alias is None or by_name:
        yield name
    if settings.get("validate_by_alias", True):
        for choice in alias.choices if isinstance(alias, AliasChoices) else [alias]:
            first = choice.path[0] if isinstance(choice, AliasPath) else choice
            if isinstance(first, str):
                yield first


def _open(model: type[BaseModel]) -> bool:
    return model.model_config.get("extra") == "allow"


def _unknown(model: type[BaseModel], env: Collection[str]) -> dict[str, str]:
    declared = declared_keys(model)
    # A key that is missing is more likely to have been meant than one that is there too.
    meant = {key.casefold(): key for key in declared if key not in env}
    problems = {}
    for key in env:
        if key not in declared:
            near = get_close_matches(key.casefold(), meant, n=1)
            known = f"the keys are {', '.join(declared)}" if declared else "there are no keys"
            problems[key] = f"unknown key; {f'did you mean {meant[near[0]]}?' if near else known}"
    return problems


def _problems(error: ValidationError) -> list[tuple[str, str]]:
    details = error.errors(include_input=False, include_url=False, include_context=False)
    return [(str(detail["loc"][0]) if detail["loc"] else WHOLE, detail["msg"]) for detail in details]


def _masked(problems: list[tuple[str, str]], env: Mapping[str, str], secrets: Collection[str]) -> dict[str, str]:
    """The problems by key; a validator's own words may repeat what it was given."""
    fields: dict[str, list[str]] = {}
    for key, text in problems:
        hidden = [value for name, value in env.items() if name in secrets or name == key]
        masked = Masker.of(hidden).mask(text.removeprefix("Value error, ").removeprefix("Assertion failed, "))
        fields.setdefault(key, []).append(masked)
    return {key: "; ".join(dict.fromkeys(texts)) for key, texts in fields.items()}


def _summary(data_source: str, fields: Mapping[str, str]) -> str:
    of = f" of {data_source!r}" if data_source else ""
    wrong = "; ".join(f"{key}: {problem}" if key != WHOLE else problem for key, problem in fields.items())
    return f"the configuration{of} is not valid: {wrong}"


def _is_secret(annotation: Any) -> bool:
    """Whether a secret type stands anywhere in ``annotation``, as it does in Optional[SecretStr]."""
    queue: list[Any] = [annotation]
    seen: list[Any] = []
    while queue:
        part = queue.pop()
        if isinstance(part, type) and issubclass(part, SecretStr | SecretBytes | Secret):
            return True
        if not any(part is other for other in seen):
            seen.append(part)
            queue += [get_origin(part), *get_args(part), getattr(part, "__value__", None)]
    return False
