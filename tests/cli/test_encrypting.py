"""The cipher of the command line: keys by environment or file, never by argument."""

import subprocess
from base64 import urlsafe_b64encode
from pathlib import Path

import pytest

from tests.cli.conftest import Command

OLD, NEW = (urlsafe_b64encode(letter * 32).decode() for letter in (b"o", b"n"))
SECRET = "s3cret-77x"
VARIABLE = "TENANTCOLLECT_CIPHER_KEYS"


def configured(tenantcollect: Command, *tenants: str, **env: str) -> None:
    """Each tenant has a git source with a secret."""
    for tenant in tenants:
        words = (tenant, "git", f"GIT_REPOSITORY=/srv/{tenant}", "GIT_REFS=-", "--secret", "GIT_REFS")
        assert tenantcollect("config", "set", *words, stdin=SECRET, **env).code == 0


def database(folder: Path) -> bytes:
    """All that stands in the file, and beside it."""
    return b"".join(file.read_bytes() for file in folder.glob("tenantcollect.db*"))


def test_secrets_are_encrypted_and_rotated(tenantcollect: Command, folder: Path) -> None:
    """Plain ones first, then those of an older key; the counts say what was done, a dry run what would be."""
    configured(tenantcollect, "acme")
    assert SECRET.encode() in database(folder)
    dry = tenantcollect("config", "rotate-keys", "--dry-run", "--json", **{VARIABLE: OLD})
    assert [(row["plain"], row["older"], row["newest"], row["dry_run"]) for row in dry.rows] == [(1, 0, 0, True)]
    assert tenantcollect("config", "rotate-keys", **{VARIABLE: OLD}).code == 0
    configured(tenantcollect, "globex", **{VARIABLE: OLD})
    keys = {VARIABLE: f"{NEW}, {OLD}"}
    ended = tenantcollect("config", "rotate-keys", "globex", "git", "--json", **keys)
    assert [(row["tenant_id"], row["older"], row["unreadable"]) for row in ended.rows] == [("globex", 1, {})]
    ended = tenantcollect("config", "rotate-keys", **keys)
    assert (ended.code, OLD in ended.out + ended.err, "acme/git" in ended.out) == (0, False, True)
    assert "did you mean 'globex'?" in tenantcollect("config", "rotate-keys", "globx", **keys).err
    (folder / "keys").write_text(f"{NEW}\n", encoding="utf-8")
    assert tenantcollect("check", **{VARIABLE: "@keys"}).out.count("cannot be decrypted") == 0
    assert tenantcollect("config", "rotate-keys", **{VARIABLE: "@keys"}).code == 0


@pytest.mark.parametrize(("env", "cure"), [({}, VARIABLE), ({VARIABLE: NEW}, "config set acme git GIT_REFS=-")])
def test_a_lost_key_is_told_with_its_cure(tenantcollect: Command, env: dict[str, str], cure: str) -> None:
    """``run`` and ``check`` give 3 and say what to do; other keys can be set, and nothing is overwritten."""
    configured(tenantcollect, "acme", **{VARIABLE: OLD})
    ran = tenantcollect("run", **env)
    assert (ran.code, "cannot be decrypted" in ran.out) == (3, True)
    checked = tenantcollect("check", "--json", **env)
    assert (checked.code, checked.rows[0]["reason"], cure in checked.rows[0]["detail"]) == (3, "config_invalid", True)
    assert tenantcollect("config", "set", "acme", "git", "GIT_REPOSITORY=/srv/b", **env).code == 0
    assert tenantcollect("config", "list", "--json").rows[0]["env"] == {"GIT_REPOSITORY": "/srv/b", "GIT_REFS": "***"}
    dry = tenantcollect("config", "rotate-keys", "--dry-run", "--json", **env)
    assert (dry.code, list(dry.rows[0]["unreadable"])) == (3, ["GIT_REFS"])
    words = ("config", "set", "acme", "git", "GIT_REFS=-", "--secret", "GIT_REFS")
    anew = tenantcollect(*words, stdin=SECRET, **env)
    assert (anew.code, VARIABLE in anew.err) == ((0, False) if env else (2, True))  # no plaintext beside ciphertexts
    assert tenantcollect("config", "unset", "acme", "git", "GIT_REFS", **env).code == 0
    assert tenantcollect(*words, stdin=SECRET, **env).code == 0
    assert tenantcollect("config", "rotate-keys", "--dry-run", **env).code == 0


def test_windows_in_other_processes_decrypt_too(tenantcollect: Command, folder: Path) -> None:
    """A child takes the keys from the environment, as its parent did."""
    git = ["git", "-C", str(folder), "-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "init.defaultBranch=trunk"]
    for words in (["init"], ["commit", "--allow-empty", "-m", "first"]):
        subprocess.run([*git, *words], check=True, capture_output=True)
    words = ("acme", "git", f"GIT_REPOSITORY={folder}", "GIT_REFS=-", "--secret", "GIT_REFS")
    assert tenantcollect("config", "set", *words, stdin="trunk", **{VARIABLE: OLD}).code == 0
    ended = tenantcollect("run", "--executor", "processes", "--max-windows", "3", "--json", **{VARIABLE: OLD})
    assert (ended.code, ended.json["windows"]["completed"]) == (0, 3), ended


@pytest.mark.parametrize(
    ("keys", "part"),
    [
        ("too-short-to-be-a-key", "cipher key 1 is not 32 bytes"),
        (f"{OLD},{NEW[:-4]}", "cipher key 2 is not 32 bytes"),
        ("@nosuch", f"{VARIABLE} @nosuch: the file cannot be read"),
    ],
)
def test_keys_that_are_none_are_refused(tenantcollect: Command, keys: str, part: str) -> None:
    """With 2, by their number, without a word of them."""
    configured(tenantcollect, "acme")
    ended = tenantcollect("config", "list", **{VARIABLE: keys})
    assert (ended.code, ended.out) == (2, "")
    assert part in ended.err
    assert not any(key in ended.err for key in (OLD, NEW[:-4], "too-short"))


def test_doctor_examines_the_rest_where_the_keys_are_none(tenantcollect: Command) -> None:
    """They are a finding of it, of code 3, beside what it says of the database."""
    configured(tenantcollect, "acme", **{VARIABLE: OLD})
    ended = tenantcollect("doctor", "--json", **{VARIABLE: "too-short"})
    assert ended.code == 3
    assert {row["topic"] for row in ended.rows} >= {"plugins", "database", "schema", "tables", "secrets", "clock"}
    wrong, lost = [row for row in ended.rows if row["severity"] != "ok"]
    assert ("cipher key 1 is not 32 bytes" in wrong["detail"], wrong["action"]) == (True, f"correct {VARIABLE}")
    assert "GIT_REFS of acme git cannot be decrypted" in lost["detail"]


def test_what_cannot_be_decrypted_is_listed_so(tenantcollect: Command) -> None:
    """And not as if it were well."""
    configured(tenantcollect, "acme", **{VARIABLE: OLD})
    assert "GIT_REFS=*** (cannot be decrypted)" in tenantcollect("config", "list").out
    [row] = tenantcollect("config", "list", "--json").rows
    assert (row["env"]["GIT_REFS"], row["unreadable"]) == ("***", ["GIT_REFS"])
    whole = {VARIABLE: OLD}
    assert tenantcollect("config", "list", "--json", **whole).rows[0]["unreadable"] == []
    assert "cannot be" not in tenantcollect("config", "list", **whole).out


def test_without_a_cipher_nothing_is_rotated(tenantcollect: Command) -> None:
    """The error says which variable to set."""
    configured(tenantcollect, "acme")
    ended = tenantcollect("config", "rotate-keys")
    assert (ended.code, VARIABLE in ended.err) == (2, True)


def test_without_the_extra_the_command_line_says_how_to_install_it(tenantcollect: Command, folder: Path) -> None:
    """Keys without the package that uses them are no bug of ours."""
    configured(tenantcollect, "acme")
    (folder / "cryptography").mkdir()
    (folder / "cryptography" / "__init__.py").write_text("raise ImportError", encoding="utf-8")
    ended = tenantcollect("config", "list", PYTHONPATH=str(folder), **{VARIABLE: OLD})
    assert (ended.code, 'pip install "tenantcollect[crypto]"' in ended.err) == (2, True)
