"""A tenant's env against its model: every wrong key at once, and never a value."""

from typing import Annotated, Literal, Optional

import pytest
from pydantic import (
    VERSION,
    AliasChoices,
    AliasPath,
    BaseModel,
    ConfigDict,
    Field,
    Json,
    JsonValue,
    Secret,
    SecretBytes,
    SecretStr,
    field_validator,
    model_validator,
)

from tenantcollect import AuthenticationError, ConfigurationError
from tenantcollect.configuration import config_schema, declared_keys, secret_keys, validated

SECRET = "ghp_very-secret-value"


class GitHub(BaseModel):
    GITHUB_TOKEN: SecretStr
    GITHUB_ORG: str
    PER_PAGE: int = 100
    ARCHIVED: bool = True
    KIND: Literal["cloud", "server"] = "cloud"


def fields_of(model: type[BaseModel], env: dict[str, str]) -> dict[str, str]:
    """What is wrong with each key; the error itself leads to no value."""
    with pytest.raises(ConfigurationError) as refused:
        validated(model, env, data_source="github")
    error = refused.value
    assert str(error).startswith("the configuration of 'github' is not valid: ")
    assert error.__cause__ is None
    assert error.__suppress_context__
    return error.fields


def test_a_valid_env_is_typed() -> None:
    """Collectors get numbers and booleans, not texts."""
    env = {"GITHUB_TOKEN": SECRET, "GITHUB_ORG": "acme", "PER_PAGE": "50", "KIND": "server"}
    config = validated(GitHub, env)
    assert isinstance(config, GitHub)
    assert (config.PER_PAGE, config.KIND, config.GITHUB_TOKEN.get_secret_value()) == (50, "server", SECRET)
    assert SECRET not in repr(config)


@pytest.mark.parametrize("text", ["false", "0", "no", "False", "off"])
def test_false_in_words_is_false(text: str) -> None:
    """bool("false") is True, which is why the models are pydantic's."""
    config = validated(GitHub, {"GITHUB_TOKEN": "t", "GITHUB_ORG": "o", "ARCHIVED": text})
    assert isinstance(config, GitHub)
    assert config.ARCHIVED is False


def test_without_a_model_anything_goes_and_nothing_is_typed() -> None:
    """A data source need not declare its env."""
    assert validated(None, {"ANY": "thing"}) is None


def test_every_wrong_key_is_named_at_once() -> None:
    """A person corrects a form once, not once per field."""
    fields = fields_of(GitHub, {"GITHUB_TOKN": SECRET, "PER_PAGE": "many", "KIND": "own", "github_org": "x"})
    assert fields == {
        "GITHUB_TOKN": "unknown key; did you mean GITHUB_TOKEN?",
        "github_org": "unknown key; did you mean GITHUB_ORG?",
        "GITHUB_TOKEN": "Field required",
        "GITHUB_ORG": "Field required",
        "PER_PAGE": "Input should be a valid integer, unable to parse string as an integer",
        "KIND": "Input should be 'cloud' or 'server'",
    }


def test_an_unknown_key_with_nothing_near_lists_the_keys() -> None:
    """Also when everything else is right."""
    fields = fields_of(GitHub, {"GITHUB_TOKEN": "t", "GITHUB_ORG": "o", "XYZ": "1"})
    assert fields == {"XYZ": "unknown key; the keys are GITHUB_TOKEN, GITHUB_ORG, PER_PAGE, ARCHIVED, KIND"}


@pytest.mark.parametrize("extra", ["ignore", "forbid"])
def test_unknown_keys_are_refused_whatever_the_model_ignores(extra: Literal["ignore", "forbid"]) -> None:
    """A misspelt optional key would otherwise be lost in silence; it is named once."""

    class Strict(BaseModel, extra=extra):
        HOST: str

    fields = fields_of(Strict, {"HOST": "h", "PROT": "1"})
    assert fields == {"PROT": "unknown key; the keys are HOST"}


def test_a_model_that_allows_extra_keys_gets_them() -> None:
    """Such keys are secret all the same: nobody said that they are not."""

    class Open(BaseModel, extra="allow"):
        HOST: str

    config = validated(Open, {"HOST": "h", "HEADER_X": SECRET})
    assert config is not None
    assert config.model_extra == {"HEADER_X": SECRET}
    assert secret_keys(Open, ["HOST", "HEADER_X"]) == {"HEADER_X"}
    assert config_schema(Open)["additionalProperties"]["writeOnly"] is True


class Talkative(BaseModel):
    """Validators whose messages repeat what they were given."""

    TOKEN: SecretStr
    HOST: str = ""

    @field_validator("TOKEN")
    @classmethod
    def _prefix(cls, value: SecretStr) -> SecretStr:
        raise ValueError(f"{value.get_secret_value()} must begin with ghp_")

    @field_validator("HOST")
    @classmethod
    def _known(cls, value: str) -> str:
        raise AssertionError(f"no host {value}")


def test_no_problem_repeats_a_value() -> None:
    """G6: also when the plugin's own validator does."""
    fields = fields_of(Talkative, {"TOKEN": SECRET, "HOST": "secret.example"})
    assert fields == {"TOKEN": "*** must begin with ghp_", "HOST": "no host ***"}


@pytest.mark.parametrize(
    ("error", "fields"),
    [
        (KeyError(SECRET), {"*": "Careless raised KeyError: '***'"}),
        (AuthenticationError(SECRET), {"*": "Careless raised AuthenticationError: ***"}),
        (ConfigurationError(f"not {SECRET}"), {"*": "not ***"}),
        (ConfigurationError("x", fields={"TOKEN": f"not {SECRET}"}), {"TOKEN": "not ***"}),
        (ValueError(f"not {SECRET}"), {"*": "not ***"}),
    ],
)
def test_whatever_a_validator_raises_is_a_problem_of_the_configuration(
    error: Exception, fields: dict[str, str]
) -> None:
    """A bug in a plugin's model does not end the pass, and its traceback shows no secret."""

    class Careless(BaseModel):
        TOKEN: SecretStr

        @model_validator(mode="after")
        def _fail(self) -> "Careless":
            raise error

    assert fields_of(Careless, {"TOKEN": SECRET}) == fields


type_alias = Annotated[Optional[SecretStr], Field(title="a token")]  # noqa: UP045 - as plugins write it


class Secrets(BaseModel):
    PLAIN: str = ""
    ONE: SecretStr
    TWO: SecretBytes
    THREE: SecretStr | None = None
    FOUR: type_alias = None
    FIVE: Secret[int]
    SIX: Json[dict[str, SecretStr]]
    SEVEN: Json[JsonValue] = None
    EIGHT: list[SecretStr] | None = None


def test_secret_types_are_found_wherever_they_stand() -> None:
    """Optional[SecretStr] hides as much as SecretStr; recursive types end."""
    keys = set(Secrets.model_fields) | {"UNDECLARED"}
    assert secret_keys(Secrets, keys) == keys - {"PLAIN", "SEVEN"}
    assert secret_keys(None, ["A", "B"]) == {"A", "B"}


class Aliased(BaseModel):
    token: SecretStr = Field(alias="API_TOKEN")
    host: str = Field(default="", validation_alias=AliasChoices("HOST", "HOSTNAME", AliasPath("PLACES", 0)))


class ByName(BaseModel):
    model_config = ConfigDict(populate_by_name=True)
    token: str = Field(alias="API_TOKEN")


SINCE_2_11 = pytest.mark.skipif(VERSION < "2.11", reason="validate_by_alias came with pydantic 2.11")


class NeverByAlias(BaseModel):
    model_config = ConfigDict(validate_by_name=True, validate_by_alias=False)
    token: str = Field(alias="API_TOKEN")


class Generated(BaseModel):
    model_config = ConfigDict(alias_generator=lambda name: f"ACME_{name.upper()}")
    token: SecretStr


@pytest.mark.parametrize(
    ("model", "keys"),
    [
        (Aliased, {"API_TOKEN", "HOST", "HOSTNAME", "PLACES"}),
        (ByName, {"token", "API_TOKEN"}),
        pytest.param(NeverByAlias, {"token"}, marks=SINCE_2_11),
        (Generated, {"ACME_TOKEN"}),
    ],
)
def test_the_keys_are_what_pydantic_reads(model: type[BaseModel], keys: set[str]) -> None:
    """Aliases are the env keys where a model has them."""
    assert declared_keys(model).keys() == keys
    for key in keys - {"PLACES"}:
        env = {"API_TOKEN": "t"} | {key: "t"} if model is Aliased else {key: "t"}
        assert validated(model, env) is not None
    assert secret_keys(Aliased, ["API_TOKEN", "HOST", "token"]) == {"API_TOKEN", "token"}


def test_the_schema_renders_a_form() -> None:
    """Secrets are password fields, and a form knows that there are no other keys."""
    schema = config_schema(GitHub)
    assert schema["properties"]["GITHUB_TOKEN"]["format"] == "password"
    assert schema["properties"]["GITHUB_TOKEN"]["writeOnly"] is True
    assert schema["required"] == ["GITHUB_TOKEN", "GITHUB_ORG"]
    assert schema["additionalProperties"] is False
    assert config_schema(None)["additionalProperties"]["format"] == "password"
