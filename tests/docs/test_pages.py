"""Every page is true: its code runs, its links lead somewhere, what it shows of the code is what the code says."""

import ast
import builtins
import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from types import ModuleType
from urllib.parse import unquote

import pytest

import tenantcollect
import tenantcollect.testing
from tenantcollect import contrib
from tenantcollect.policy import Reason

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(path for path in DOCS.rglob("*.md") if "_build" not in path.parts)]
EXAMPLES = sorted((ROOT / "examples").glob("*/README.md"))
TUTORIAL = DOCS / "tutorials" / "write_a_collector.md"
LINK = re.compile(r"(?<!!)\[[^\]]+\]\((?!https?:|mailto:)([^)\s]+)\)")
FENCED = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
WITH_CODE = [path for path in PAGES if re.search(r"^```(python|console)$", path.read_text("utf-8"), re.MULTILINE)]


def named(path: Path) -> str:
    """The path as the test's name shows it."""
    return str(path.relative_to(ROOT))


def loaded(path: Path) -> ModuleType:
    """A script of the repository as a module."""
    spec = importlib.util.spec_from_file_location(f"_{path.stem}", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A git repository with one commit, in which a page runs: some of them collect it."""
    folder = tmp_path / "reader"
    folder.mkdir()
    git = ["git", "-C", str(folder), "-c", "user.name=Ada", "-c", "user.email=ada@acme.example"]
    subprocess.run([*git, "init", "--quiet", "--initial-branch=main"], check=True)
    subprocess.run([*git, "commit", "--quiet", "--allow-empty", "--message=Begin"], check=True)
    return folder


@pytest.mark.parametrize("page", WITH_CODE, ids=named)
def test_every_block_runs(page: Path, repository: Path) -> None:
    """Python blocks, the files a page shows, and our commands: all of them, in the order of the page."""
    runner = Path(__file__).with_name("page.py")
    quiet = {name: value for name, value in os.environ.items() if not name.startswith(("TENANTCOLLECT_", "PYTEST_"))}
    ran = subprocess.run(
        [sys.executable, str(runner), str(page)], cwd=repository, env=quiet, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stdout[-3000:] + ran.stderr[-3000:]


@pytest.mark.parametrize("page", [*PAGES, *EXAMPLES], ids=named)
def test_every_link_leads_somewhere(page: Path) -> None:
    """The file exists, and the heading too where one is named."""
    broken = []
    for target in LINK.findall(FENCED.sub("", page.read_text("utf-8"))):
        name, _, anchor = unquote(target).partition("#")
        file = (page.parent / name) if name else page
        if not file.exists() or (anchor and anchor not in anchors(file)):
            broken.append(target)
    assert not broken


def anchors(page: Path) -> set[str]:
    """The headings as GitHub and MyST name them."""
    headings = re.findall(r"^#+ (.+)$", FENCED.sub("", page.read_text("utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", sorted((DOCS / "how-to").glob("*.md")), ids=named)
def test_no_block_needs_what_its_reader_cannot_see(page: Path) -> None:
    """What is set up behind a page is what its reader has anyway: no name of it stands in a block."""
    hidden, shown, needed = set(), set(dir(builtins)), set()
    for block in loaded(Path(__file__).with_name("page.py")).blocks(page.read_text("utf-8")):
        if block.kind not in ("python", "setup"):
            continue
        names = [node for node in ast.walk(ast.parse(block.text)) if isinstance(node, ast.Name | ast.alias | ast.arg)]
        made = {node.asname or node.name for node in names if isinstance(node, ast.alias)}
        made |= {node.arg for node in names if isinstance(node, ast.arg)}
        made |= {node.id for node in names if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
        if block.kind == "setup":
            hidden |= made
            continue
        shown |= made
        used = {node.id for node in names if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
        needed |= (used - shown) & hidden
    assert not needed


GENERATED = [path for path in PAGES if "<!-- generated: " in path.read_text("utf-8")]


@pytest.mark.parametrize("page", GENERATED, ids=named)
def test_the_pages_say_what_the_code_says(page: Path) -> None:
    """Hooks, errors, events, methods, commands, layers: docs/generated.py writes them; run it after a change."""
    text = page.read_text("utf-8")
    assert text == loaded(DOCS / "generated.py").refreshed(text), "run: python docs/generated.py"


def test_every_public_name_is_documented() -> None:
    """The API page names all that the face exports."""
    text = (DOCS / "reference" / "api.md").read_text("utf-8")
    assert not [name for name in tenantcollect.__all__ if f"`{name}`" not in text]


def test_every_part_with_a_library_of_its_own_is_documented() -> None:
    """The API page names what each module of ``tenantcollect.contrib`` exports."""
    text = (DOCS / "reference" / "api.md").read_text("utf-8")
    modules = [import_module(found.name) for found in iter_modules(contrib.__path__, f"{contrib.__name__}.")]
    names = [f"{module.__name__}.{name}" for module in modules for name in module.__all__]
    assert len(names) > 1
    assert not [name for name in names if f"`{name}`" not in text]


def test_every_name_of_the_kit_is_documented() -> None:
    """The page on testing names all that ``tenantcollect.testing`` exports."""
    text = (DOCS / "reference" / "testing.md").read_text("utf-8")
    named = set(re.findall(r"`(\w+)|^#+ (\w+)$", text, re.MULTILINE))
    assert set(tenantcollect.testing.__all__) <= {name for pair in named for name in pair}


def test_every_reason_is_documented() -> None:
    """The page on the command line explains each reason."""
    text = (DOCS / "reference" / "cli.md").read_text("utf-8")
    assert not [reason.value for reason in Reason if f"| `{reason.value}` |" not in text]


def test_every_hook_fires_in_the_drawing() -> None:
    """The page on hooks has the drawing of the hookspecs."""
    from tenantcollect import hookspecs

    drawing = re.search(r"When each fires::\n\n(.*?)\n\n[^ ]", hookspecs.__doc__ or "", re.DOTALL)
    assert drawing
    lines = [line.strip() for line in drawing[1].splitlines()]
    text = (DOCS / "reference" / "hooks.md").read_text("utf-8")
    assert not [line for line in lines if line not in text]


def shown_files() -> Iterator[tuple[str, str]]:
    """The files of the package that the tutorial shows."""
    for block in loaded(Path(__file__).with_name("page.py")).blocks(TUTORIAL.read_text("utf-8")):
        found = re.match(r"# ([\w./-]+\.(?:py|toml))\n", block.text)
        if found:
            yield found[1], block.text[found.end() :]


@pytest.mark.parametrize(("name", "text"), [pytest.param(*shown, id=shown[0]) for shown in shown_files()])
def test_the_tutorial_shows_the_example(name: str, text: str) -> None:
    """Who follows the tutorial ends with the example package."""
    assert (ROOT / "examples" / "collector_package" / name).read_text("utf-8") == text
