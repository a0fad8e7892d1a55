"""What a tenant may configure for git, and what each mistake is told."""

import pytest
from pydantic import ValidationError

from tenantcollect import ConfigurationError
from tenantcollect.sources.git import source
from tenantcollect.sources.git.settings import GitSettings


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ("/srv/a.git", "/srv/a.git"),
        (" /srv/a.git ", "/srv/a.git"),
        ("file:///srv/a%20b.git", "/srv/a b.git"),
        ("file://localhost/srv/a.git", "/srv/a.git"),
    ],
)
def test_a_path_or_a_file_url_names_the_clone(given, path):
    """An absolute path and a file URL mean the same folder."""
    assert GitSettings(GIT_REPOSITORY=given).clone().path == path


@pytest.mark.parametrize(
    "given",
    [
        "",
        ".",
        "clones/a",
        "~/a",
        "-x",
        "https://u:hunter2@host/a.git",
        "git@host:a.git",
        "file://host/a",
        "/a\0b",
    ],
)
def test_anything_else_is_told_the_cure_and_not_repeated(given):
    """A relative path or a remote URL is refused with the command to run, without the password in it."""
    with pytest.raises(ValidationError, match="git clone --mirror") as raised:
        GitSettings(GIT_REPOSITORY=given)
    assert "hunter2" not in str(raised.value)


def test_refs_are_names_separated_by_spaces():
    """Any white space separates refs; none means all."""
    assert GitSettings(GIT_REPOSITORY="/a", GIT_REFS=" main\n v* ").GIT_REFS == "main v*"
    assert GitSettings(GIT_REPOSITORY="/a").GIT_REFS == ""


def test_a_ref_that_looks_like_an_option_is_refused():
    """A ref cannot be smuggled in as an option of git."""
    with pytest.raises(ValidationError, match="no ref begins with '-'"):
        GitSettings(GIT_REPOSITORY="/a", GIT_REFS="main --output=x")


def test_the_schema_can_render_a_form():
    """Each env key has a title, a description and an example, and only the repository is required."""
    schema = source.config().model_json_schema()
    assert schema["required"] == ["GIT_REPOSITORY"]
    assert {key for field in schema["properties"].values() for key in field} >= {
        "title",
        "description",
        "examples",
    }


def test_check_says_what_the_tenant_would_see(repository):
    """The line names the leading branch and counts what the tenant's refs open."""
    repository.many(range(1, 1201))
    repository.commit(1, on="side")
    path = str(repository.path)
    assert source.check(GitSettings(GIT_REPOSITORY=path)) == "main, 2 branches, 1 201 commits"
    assert source.check(GitSettings(GIT_REPOSITORY=path, GIT_REFS="side")) == "side, 1 branch, 1 commit"


def test_check_of_an_empty_repository_is_a_line(repository):
    """No commit yet is a fact and not an error."""
    assert source.check(GitSettings(GIT_REPOSITORY=str(repository.path))) == "no branch, 0 branches, 0 commits"


def test_check_of_what_is_no_repository_raises(tmp_path):
    """A folder that is no clone is a configuration error of its field."""
    with pytest.raises(ConfigurationError, match="top folder of a git repository") as raised:
        source.check(GitSettings(GIT_REPOSITORY=str(tmp_path)))
    assert set(raised.value.fields) == {"GIT_REPOSITORY"}
