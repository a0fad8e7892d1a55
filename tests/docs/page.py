"""Runs one page: every block of Python and SQL, every file it shows, every command of ours; in the order of the page.

    python page.py PAGE      in an empty directory

All Python blocks of a page share a namespace; SQL is run by its engine ``admin``. A block whose first line is
``# some/file.py`` is a file of the reader's package and is written there. Instructions to this runner stand in HTML
comments, which no reader sees:

    <!-- setup … -->        Python that the page takes for granted
    <!-- install -->        the package that the page has shown is installed
    <!-- installed: X -->   another page's package is installed: that of the README
    <!-- exit: N -->        the commands of the next block end with this code
"""

import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from io import BytesIO, TextIOWrapper
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import httpx2

from tenantcollect.cli import main as tenantcollect

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(
    r"^<!-- (?P<order>setup\n|install\b|installed: |exit: )(?P<words>.*?)\s*-->$"
    r"|^```(?P<language>python|toml|console|sql)\n(?P<text>.*?)^```$",
    re.DOTALL | re.MULTILINE,
)
FILE = re.compile(r"# (?P<name>[\w./-]+\.(?:py|toml))\n")


class Block(NamedTuple):
    """A fenced block or an instruction, with its line in the page."""

    kind: str
    text: str
    line: int


def blocks(page: str) -> Iterator[Block]:
    """What a page holds for us, in order."""
    for found in BLOCK.finditer(page):
        kind = found["language"] or found["order"].strip(" :\n")
        text = found["text"] if found["language"] else found["words"]
        yield Block(kind, text, page.count("\n", 0, found.start()) + 1)


class Page:
    """A page that is being run in the current directory, which is also where its modules are imported from."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.namespace: dict[str, Any] = {"__name__": "__main__"}
        self.exit_code = 0

    def run(self) -> None:
        """Run all of it; raises what went wrong."""
        for block in blocks(self.path.read_text(encoding="utf-8")):
            getattr(self, f"_{block.kind}")(block)

    def _python(self, block: Block) -> None:
        if not self._is_file(block):
            self._setup(block)

    def _setup(self, block: Block) -> None:
        padded = "\n" * block.line + block.text  # tracebacks name the line of the page
        exec(compile(padded, str(self.path), "exec"), self.namespace)

    def _sql(self, block: Block) -> None:
        with self.namespace["admin"].begin() as connection:
            connection.connection.driver_connection.execute(block.text)

    def _toml(self, block: Block) -> None:
        if not self._is_file(block):
            tomllib.loads(block.text)

    def _is_file(self, block: Block) -> bool:
        found = FILE.match(block.text)
        if found is None:
            return False
        name = Path(found["name"].removeprefix("src/"))
        name.parent.mkdir(parents=True, exist_ok=True)
        name.write_text(block.text[found.end() :], encoding="utf-8")
        return True

    def _install(self, block: Block) -> None:
        project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
        metadata = Path(f"{project['name'].replace('-', '_')}-{project['version']}.dist-info")
        metadata.mkdir()
        lines = [f"Name: {project['name']}", f"Version: {project['version']}"]
        (metadata / "METADATA").write_text("\n".join(["Metadata-Version: 2.1", *lines, ""]), encoding="utf-8")
        groups = (
            "\n".join([f"[{group}]", *(f"{name} = {value}" for name, value in points.items()), ""])
            for group, points in project["entry-points"].items()
        )
        (metadata / "entry_points.txt").write_text("\n".join(groups), encoding="utf-8")

    def _installed(self, block: Block) -> None:
        for shown in blocks((ROOT / "README.md").read_text(encoding="utf-8")):
            if shown.kind in ("python", "toml"):
                self._is_file(shown)
        self._install(block)

    def _exit(self, block: Block) -> None:
        self.exit_code = int(block.text)

    def _console(self, block: Block) -> None:
        for line in re.findall(r"^\$ (.*)$", block.text, re.MULTILINE):
            for command in line.split(" && "):
                given, piped, words = command.rpartition(" | ")
                sys.stdin = TextIOWrapper(BytesIO(given.removeprefix("echo ").encode() if piped else b""))
                self._command(shlex.split(words, comments=True))
        self.exit_code = 0

    def _command(self, words: list[str]) -> None:
        match words:
            case ["tenantcollect", *arguments]:
                code = tenantcollect(arguments)
                assert code == self.exit_code, f"tenantcollect {shlex.join(arguments)} ended with {code}"
            case ["export", assignment]:
                name, _, value = assignment.partition("=")
                os.environ[name] = value
            case ["pip", "install", "."] if Path("pyproject.toml").exists() and not list(Path().glob("*.dist-info")):
                self._install(Block("install", "", 0))
            case ["pytest", *arguments]:
                subprocess.run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments], check=True)


def answered(request: httpx2.Request) -> httpx2.Response:
    """What the CRM of the README answers: one contact per window."""
    assert request.headers["Authorization"].startswith("Bearer a-token-")
    contact = {"id": request.url.params["changed_from"], "email": "ada@acme.example"}
    return httpx2.Response(200, content=json.dumps([contact]), request=request)


def main(path: Path) -> None:
    """Run the page here, with no internet: a host that ends with ``.example`` is answered by us."""
    sys.path.insert(0, str(Path.cwd()))
    os.environ["PYTHONPATH"] = str(Path.cwd())
    through = httpx2.HTTPTransport.handle_request

    def handle(transport: httpx2.HTTPTransport, request: httpx2.Request) -> httpx2.Response:
        return answered(request) if request.url.host.endswith(".example") else through(transport, request)

    with patch.object(httpx2.HTTPTransport, "handle_request", handle):
        Page(path).run()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
