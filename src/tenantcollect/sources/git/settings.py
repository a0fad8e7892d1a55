"""What a tenant configures for the data source ``git``."""

from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from pydantic import BaseModel, ConfigDict, Field, field_validator

from .clone import Clone


class GitSettings(BaseModel):
    """The env of a tenant's data source ``git``; the names of the fields are the env keys."""

    model_config = ConfigDict(frozen=True, title="Git repository", hide_input_in_errors=True)

    GIT_REPOSITORY: str = Field(
        title="Repository",
        description="Absolute path or file:// URL of a clone on this machine, bare or not.",
        examples=["/srv/clones/acme.git"],
    )
    GIT_REFS: str = Field(
        default="",
        title="Visible refs",
        description="Branches, tags, globs that may be seen, separated by spaces; empty = the whole history.",
        examples=["main release/* v1.*"],
    )

    @field_validator("GIT_REPOSITORY")
    @classmethod
    def _local(cls, value: str) -> str:
        path = _path(value.strip())
        if "\0" in path or not Path(path).is_absolute():
            # A relative path means another folder in each process that works for the tenant.
            raise ValueError(
                "must be an absolute path or a file:// URL; for a remote repository "
                "run 'git clone --mirror URL FOLDER' and give that folder"
            )
        return path

    @field_validator("GIT_REFS")
    @classmethod
    def _names(cls, value: str) -> str:
        if any(name.startswith("-") for name in value.split()):
            raise ValueError("no ref begins with '-'; give branches, tags or globs, separated by spaces")
        return " ".join(value.split())

    def clone(self) -> Clone:
        """The clone as this tenant may see it."""
        return Clone(self.GIT_REPOSITORY, self.GIT_REFS)


def _path(text: str) -> str:
    url = urlsplit(text)
    local = url.scheme == "file" and url.netloc in ("", "localhost")
    return url2pathname(url.path) if local else text
