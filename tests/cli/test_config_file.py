from pathlib import Path

import pytest

from tenantcollect.cli.importing import LARGEST_FILE, parse, read
from tenantcollect.errors import ConfigurationError

GOOD = """
# Two tenants
[tenant.acme.github]
GITHUB_ORG = "acme"
GITHUB_TOKEN = { secret = "s3cret" }

[tenant."globex ltd".jira]
"JIRA_KEY" = '''-----BEGIN
[tenant.not-a-header]
-----END'''
JIRA_TOKEN = { secret_env = "GLOBEX_TOKEN" }
"""


def problems(text: str, **environment: str) -> list[tuple[int, str]]:
    """Line and text of every problem."""
    return [(problem.line, problem.text) for problem in parse(text, environment)[1]]


def test_a_file_gives_each_tenants_env_with_its_secrets_marked() -> None:
    """Values, secrets and secrets from the environment of the importer arrive as they are, with their lines."""
    tables, wrong = parse(GOOD, {"GLOBEX_TOKEN": "from-env"})
    assert wrong == []
    assert [(t.tenant_id, t.data_source, t.line, t.secrets) for t in tables] == [
        ("acme", "github", 3, ["GITHUB_TOKEN"]),
        ("globex ltd", "jira", 7, ["JIRA_TOKEN"]),
    ]
    assert tables[0].env == {"GITHUB_ORG": "acme", "GITHUB_TOKEN": "s3cret"}
    assert tables[1].env["JIRA_TOKEN"] == "from-env"
    assert tables[1].values["JIRA_TOKEN"].line == 11


def test_no_repr_of_a_parsed_file_shows_a_value() -> None:
    """A value of the file never stands in a repr, marked as secret or not."""
    assert "s3cret" not in repr(parse(GOOD, {"GLOBEX_TOKEN": "x"})[0])


@pytest.mark.parametrize(
    ("text", "line", "part"),
    [
        ('[tenants.acme.git]\nA = "1"', 1, "did you mean 'tenant'?"),
        ('\n[tenant.acme.git]\nA = "1"\nA = "2"', 4, "a second time"),
        ('[tenant.a.git]\nA = "1"\n[tenant.a.git]\nB = "1"', 3, "a second time"),
        ('[tenant."\u00e9".git]\nA="1"\n[tenant."e\u0301".git]\nA="1"', 3, "a second time"),
        ("[tenant.a.git]\n\nA = 5", 3, "A must be a text"),
        ('[tenant.a.git]\nA = ["x",\n"y"]\nB = false', 2, "A must be a text"),
        ('[tenant.a.git]\nA = { secrt = "x" }', 2, "did you mean 'secret'?"),
        ('[tenant.a.git]\nA = { secret = "x", secret_env = "Y" }', 2, "A must be"),
        ("[tenant.a.git]\nA = { secret = 5 }", 2, "A must be"),
        ("[tenant.a.git]\nA = { }", 2, "A must be"),
        ('[tenant.a.git]\nA = { swapped = "secret" }', 2, "A must be"),
        ('[tenant.a.git]\nA = { secret_env = "sk-live" }', 2, "secret_env must be the NAME"),
        ('[tenant.a.git]\nA = { secret_env = "NOT_SET" }', 2, "'NOT_SET' is not set"),
        ('[tenant.a]\nGIT_REPOSITORY = "x"', 2, "must be a table"),
        ('[tenant]\nacme = "x"', 2, "must be a table"),
        ('[tenant.a.Git]\nA = "x"', 1, "not a valid name"),
        ('[tenant." a".git]\nA = "x"', 1, "space"),
        ('[tenant.a.git]\n"A=B" = "x"', 2, "'='"),
        ('[tenant.a.git]\nA = "x\\u0000"', 2, "NUL"),
        ('[tenant.a.git]\nA = "x', 2, "not valid TOML"),
        ("[[tenant]]\na = 1", 1, "must be a table"),
        pytest.param(f"[tenant.a.git]\nA = {'1' * 5000}", 2, "number is too long", id="long number"),
        pytest.param(f"[tenant.a.git]\n{'a.' * 3000}b = 1", 1, "nested too deeply", id="deep key"),
    ],
)
def test_each_kind_of_mistake_is_named_with_its_line(text: str, line: int, part: str) -> None:
    """What is wrong in the file is told with the line it stands in."""
    found = problems(text)
    assert found[0][0] == line
    assert part in found[0][1]


@pytest.mark.parametrize("value", ["'''\n{}'''", "[\n{}]", '"""\n{}"""'], ids=["literal", "array", "basic"])
def test_a_large_value_is_read_once(value: str) -> None:
    """What follows a value of many lines, each of which could end it, has its line; it took hours to find."""
    many = value.format("'x]}#',\n" * 100_000)
    text = f"[tenant.a.git]\nA = {many}\nB = 5 # ]\n\n[tenant.a.hub]\nC = 5\n"
    assert [line for line, _ in problems(text)][-2:] == [100_004, 100_007]


def test_all_mistakes_are_told_at_once_in_the_order_of_lines() -> None:
    """One look at the errors is enough to correct the whole file."""
    text = '[tenant.a.git]\nA = 1\nB = "fine"\nC = { x = "1" }\n[other]\n[tenant.a.Git]\n'
    assert [line for line, _ in problems(text)] == [2, 4, 5, 6]


def test_a_mistake_never_repeats_the_value() -> None:
    """The text of a problem shows the key, not what was given."""
    text = '[tenant.a.git]\nA = ["s3cret"]\nB = { secret = 31337 }\nC = { secret = "s3cret", x = "s3cret" }'
    assert not any(value in told for _, told in problems(text) for value in ("s3cret", "31337"))
    text = '[tenant.a.git]\nA = { sk-live = "secret" }\nB = { secret_env = "sk-live" }\nC.sk-live = "x"'
    assert len(problems(text)) == 3
    assert "sk-live" not in repr(problems(text))


def test_a_byte_order_mark_and_windows_line_ends_are_accepted(tmp_path: Path) -> None:
    """What an editor on Windows saves can be imported."""
    file = tmp_path / "config.toml"
    file.write_bytes(b'\xef\xbb\xbf[tenant.a.git]\r\nA = "1"\r\n')
    tables, wrong = parse(read(file), {})
    assert wrong == []
    assert tables[0].env == {"A": "1"}


@pytest.mark.parametrize(
    ("raw", "part"),
    [
        (b"#" * (LARGEST_FILE + 1), "larger than 1 MiB"),
        ("[tenant.a.git]".encode("utf-16"), ":1: is UTF-16"),
        (b'[tenant.a.git]\nA = "\xff"', ":2: is not UTF-8"),
    ],
)
def test_a_file_that_cannot_be_text_is_refused(tmp_path: Path, raw: bytes, part: str) -> None:
    """A file that is too large or of another encoding is refused with its name and the cure."""
    file = tmp_path / "config.toml"
    file.write_bytes(raw)
    with pytest.raises(ConfigurationError, match=r"config\.toml") as refused:
        read(file)
    assert part in str(refused.value)
