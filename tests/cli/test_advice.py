"""Who does as he is told reaches the database that he asked about."""

from pathlib import Path
from shlex import split

import pytest

from tenantcollect.cli.printing import ADVISED
from tenantcollect.decisions import ACTIONS
from tests.cli.conftest import Command, Ended

URL = "sqlite:///an other.db"
SAME = f"tenantcollect --database-url '{URL}' "


@pytest.fixture
def other(tenantcollect: Command, folder: Path) -> Command:
    """Runs a command on another database than the default."""

    def run(*words: object) -> Ended:
        return tenantcollect("--database-url", URL, *words)

    assert f"make it: {SAME}db upgrade" in run("status").err
    ended = run("config", "set", "acme co", "git", f"GIT_REPOSITORY={folder}")
    assert ended.code == 0
    assert f"next: {SAME}check 'acme co' git" in ended.out
    assert run("pause", "acme co", "git", "--detail", "moving").code == 0
    return run


@pytest.mark.parametrize(
    ("words", "advice"),
    [
        (("explain", "acme co"), "resume 'acme co' git"),
        (("status", "acme co"), "resume 'acme co' git"),
        (("resume", "acme co", "git", "commit"), "resume 'acme co' git"),
        (("status", "xyz"), "status"),
        (("config", "set", "acme co", "gti"), "plugins"),
    ],
)
def test_an_advised_command_means_the_same_database(other: Command, words: tuple[str, ...], advice: str) -> None:
    """In tables, notes and errors alike."""
    ended = other(*words)
    told = ended.out + ended.err
    assert f"{SAME}{advice}" in told
    assert told.count("tenantcollect ") == told.count(SAME)


def test_json_has_the_words_of_the_library(other: Command, tenantcollect: Command) -> None:
    """An action is the same for everybody who reads it; which database it is about stands beside it."""
    ended = other("explain", "acme co", "--json")
    assert {row["action"] for row in ended.rows} == {"tenantcollect resume 'acme co' git"}
    assert ended.json["database"] == URL


def test_the_advice_can_be_followed(other: Command, tenantcollect: Command) -> None:
    """A shell reads it as it was meant."""
    [line] = {line for line in other("status", "acme co").out.splitlines() if "commit" in line and SAME in line}
    _, *words = split(line[line.index(SAME) :])
    assert tenantcollect(*words).code == 0
    assert "paused_by_user" not in other("status", "acme co").out


@pytest.mark.parametrize("action", ACTIONS.values())
def test_the_commands_of_an_action_stand_where_they_are_found(action: str) -> None:
    """Behind a colon, or at the beginning: elsewhere our name is a word of a sentence."""
    assert "tenantcollect" not in ADVISED.sub("THERE", action)
