import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.cli.conftest import Command, Ended

SECRET = "s3cret-77x"
FILE = """
[tenant.acme.git]
GIT_REPOSITORY = "/srv/acme"

[tenant.globex.git]
GIT_REPOSITORY = { secret_env = "GLOBEX" }
"""
PLAIN = """
import tenantcollect

class Lst:
    @tenantcollect.hookimpl
    def run(self):
        return 0

def build():
    orchestrator = tenantcollect.connect("sqlite:///plain.db", collectors={"lst.all": Lst()})
    orchestrator.upgrade()
    return orchestrator
"""


def stored(tenantcollect: Command) -> dict[str, dict[str, str]]:
    """What ``config list`` shows."""
    return {row["tenant_id"]: row["env"] for row in tenantcollect("config", "list", "--json").rows}


def shows_nothing_of(value: str, ended: Ended) -> bool:
    """Whether ``value`` stands in no output."""
    return value not in ended.out and value not in ended.err


def test_set_makes_the_database_and_merges(tenantcollect: Command) -> None:
    """``config set`` makes the file and the tables; later calls add to what is there."""
    assert tenantcollect("config", "set", "acme", "git", "GIT_REPOSITORY=/srv/acme").code == 0
    assert tenantcollect("config", "set", "acme", "git", "GIT_REFS=main").code == 0
    assert stored(tenantcollect) == {"acme": {"GIT_REPOSITORY": "/srv/acme", "GIT_REFS": "main"}}
    assert tenantcollect("db", "current").code == 0


def test_a_data_source_may_need_no_key(tenantcollect: Command, folder: Path) -> None:
    """``config set`` without KEY=VALUE configures a data source that asks for none; git asks for one."""
    (folder / "plain.py").write_text(PLAIN, encoding="utf-8")
    assert tenantcollect("--app", "plain:build", "config", "set", "acme", "lst").code == 0
    assert tenantcollect("config", "set", "acme", "git").code == 2


def test_a_value_from_standard_input_is_not_shown(tenantcollect: Command) -> None:
    """``KEY=-`` reads the value, without its line break; a secret is shown as ``***`` from then on."""
    words = ("config", "set", "acme", "git", "GIT_REPOSITORY=/srv/acme", "GIT_REFS=-", "--secret", "GIT_REFS")
    ended = tenantcollect(*words, stdin=f"{SECRET}\n")
    assert ended.code == 0
    assert shows_nothing_of(SECRET, ended)
    assert stored(tenantcollect)["acme"]["GIT_REFS"] == "***"


def test_set_never_shows_a_value_it_was_given(tenantcollect: Command) -> None:
    """Right or wrong, no output repeats what was set."""
    for words in (
        ["GIT_REPOSITORY=/srv/acme", f"GIT_REFS={SECRET}"],
        [f"GIT_REPOSITORY={SECRET}"],
        [f"GIT_REPOSITROY={SECRET}"],
        [SECRET],
        [f"{SECRET}=="],
        ["GIT_REPOSITORY=/srv/acme", "--secret", f"GIT_REFS={SECRET}"],
    ):
        assert shows_nothing_of(SECRET, tenantcollect("config", "set", "acme", "git", *words))


def test_what_takes_a_key_says_so_where_a_value_is_given_with_it(tenantcollect: Command) -> None:
    """By the key, and never by what stands behind it."""
    assert tenantcollect("config", "set", "acme", "git", "GIT_REPOSITORY=/srv/acme").code == 0
    unset = tenantcollect("config", "unset", "acme", "git", f"GIT_REPOSITORY={SECRET}")
    marked = tenantcollect("config", "set", "acme", "git", "GIT_REFS=-", "--secret", f"GIT_REFS={SECRET}", stdin="x")
    for ended, told in ((unset, "unset takes the key alone: unset GIT_REPOSITORY"), (marked, "--secret GIT_REFS\n")):
        assert (ended.code, told in ended.err) == (2, True)
        assert shows_nothing_of(SECRET, ended)


def test_a_secret_among_the_arguments_is_warned_of(tenantcollect: Command) -> None:
    """Whoever writes a secret on the command line is told a better way."""
    words = ("config", "set", "acme", "git", "GIT_REPOSITORY=/srv/acme", "--secret", "GIT_REPOSITORY")
    ended = tenantcollect(*words)
    assert (ended.code, "GIT_REPOSITORY=-" in ended.err) == (0, True)


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["acme", "git", "GIT_REPOSITROY=/srv"], "GIT_REPOSITORY"),
        (["acme", "git", "GIT_REPOSITORY=relative"], "absolute path"),
        ([" acme", "git", "GIT_REPOSITORY=/srv"], "space"),
        (["acme", "gti", "GIT_REPOSITORY=/srv"], "did you mean 'git'?"),
        (["acme", "Git", "GIT_REPOSITORY=/srv"], "not a valid name"),
    ],
)
def test_what_the_collector_would_refuse_is_refused(tenantcollect: Command, words: list[str], part: str) -> None:
    """A wrong env gives 2, names the key and the cure, and stores nothing."""
    ended = tenantcollect("config", "set", *words)
    assert (ended.code, ended.out) == (2, "")
    assert part in ended.err
    assert stored(tenantcollect) == {}


def test_unset_removes_keys_or_the_whole_source(tenantcollect: Command) -> None:
    """With keys those go, validated; without, the data source; a misspelt key is named with a near match."""
    tenantcollect("config", "set", "acme", "git", "GIT_REPOSITORY=/srv/acme", "GIT_REFS=main")
    assert "did you mean GIT_REFS?" in tenantcollect("config", "unset", "acme", "git", "GIT_REF").err
    assert tenantcollect("config", "unset", "acme", "git", "GIT_REPOSITORY").code == 2
    assert tenantcollect("config", "unset", "acme", "git", "GIT_REFS", "--dry-run").code == 0
    assert "GIT_REFS" in stored(tenantcollect)["acme"]
    assert tenantcollect("config", "unset", "acme", "git", "GIT_REFS").code == 0
    assert "GIT_REFS" not in stored(tenantcollect)["acme"]
    assert tenantcollect("config", "unset", "acme", "git").code == 0
    assert stored(tenantcollect) == {}


def test_import_sets_all_tenants_and_says_so(tenantcollect: Command, folder: Path) -> None:
    """``config import`` reports which keys of which tenant it set; what came marked is secret."""
    (folder / "config.toml").write_text(FILE, encoding="utf-8")
    ended = tenantcollect("config", "import", "config.toml", "--json", GLOBEX=f"/srv/{SECRET}")
    assert ended.code == 0
    assert shows_nothing_of(SECRET, ended)
    assert [(row["tenant_id"], row["set"]) for row in ended.rows] == [
        ("acme", ["GIT_REPOSITORY"]),
        ("globex", ["GIT_REPOSITORY"]),
    ]
    assert stored(tenantcollect) == {"acme": {"GIT_REPOSITORY": "/srv/acme"}, "globex": {"GIT_REPOSITORY": "***"}}


def test_import_writes_nothing_unless_all_is_right(tenantcollect: Command, folder: Path) -> None:
    """Every mistake of the file is told with its line; then no tenant is touched."""
    text = f'{FILE}GIT_REFZ = "x"\n[tenant.third.nosuch]\nA = "1"\n[tenant.fourth.git]\nGIT_REFS = "-x"\n'
    (folder / "config.toml").write_text(text, encoding="utf-8")
    ended = tenantcollect("config", "import", "config.toml", GLOBEX="/srv/globex")
    assert (ended.code, ended.out) == (2, "")
    lines = [line for line in ended.err.splitlines() if "config.toml:" in line]
    assert [line.split("config.toml:")[1].split(":")[0] for line in lines] == ["7", "8", "10", "11"]
    assert "GIT_REFS" in lines[0]
    assert stored(tenantcollect) == {}


def test_a_dry_run_of_import_makes_no_database(tenantcollect: Command, folder: Path) -> None:
    """``--dry-run`` checks the file against the collectors and leaves no trace, not even a file."""
    (folder / "config.toml").write_text(FILE, encoding="utf-8")
    assert tenantcollect("config", "import", "config.toml", "--dry-run", GLOBEX="/srv/globex").code == 0
    assert tenantcollect("config", "import", "config.toml", "--dry-run", GLOBEX="relative").code == 2
    assert not (folder / "tenantcollect.db").exists()


def test_importing_a_file_without_tables_claims_no_change(tenantcollect: Command, folder: Path) -> None:
    """Nobody is told that their configuration was changed when there was nothing in the file."""
    (folder / "empty.toml").write_text("# to be written")
    tenantcollect("db", "upgrade")
    ended = tenantcollect("config", "import", "empty.toml")
    assert (ended.code, ended.out) == (0, "")
    assert "nothing to change" in ended.err


def test_import_writes_nothing_unless_all_can_be_stored(tenantcollect: Command, folder: Path) -> None:
    """A database that refuses the second tenant leaves nothing of the first."""
    (folder / "config.toml").write_text(FILE, encoding="utf-8")
    tenantcollect("db", "upgrade")
    with closing(sqlite3.connect(folder / "tenantcollect.db")) as connection:
        connection.execute(
            "CREATE TRIGGER refuse BEFORE INSERT ON tenantcollect_tenant_data_source_config "
            "WHEN NEW.tenant_id = 'globex' BEGIN SELECT RAISE(ABORT, 'disk is full'); END"
        )
    ended = tenantcollect("config", "import", "config.toml", GLOBEX="/srv/globex")
    assert (ended.code, ended.out) == (4, "")
    assert stored(tenantcollect) == {}
