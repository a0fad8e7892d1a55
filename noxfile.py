"""The project's checks. `pip install nox && nox -s tests` needs nothing but Python and pip.

Each session runs on the interpreter that runs nox; `--force-python 3.13` picks another one.
"""

import tempfile
from pathlib import Path

import nox
from packaging.requirements import Requirement

nox.needs_version = ">=2025.2.9"
nox.options.sessions = ["lint", "imports", "typing", "tests", "examples"]

PYPROJECT = nox.project.load_toml("pyproject.toml")
EXAMPLES = ("examples/collector_package", "examples/host_app")


def group(*names: str) -> tuple[str, ...]:
    """The requirements of PEP 735 dependency groups: stock pip cannot read them itself."""
    return nox.project.dependency_groups(PYPROJECT, *names)


def lowest_pins() -> list[str]:
    """Each direct dependency at its lower bound, as lines of a constraints file."""
    pins = []
    for line in PYPROJECT["project"]["dependencies"]:
        requirement = Requirement(line)
        bound = next(s.version for s in requirement.specifier if s.operator == ">=")
        pins.append(f"{requirement.name}=={bound}")
    return pins


@nox.session
def lint(session: nox.Session) -> None:
    """Style and likely bugs; `nox -s lint -- --fix` mends what can be mended."""
    session.install(*group("lint"))
    session.run("ruff", "check", *session.posargs, ".")
    session.run("ruff", "format", *([] if "--fix" in session.posargs else ["--check"]), ".")


@nox.session
def imports(session: nox.Session) -> None:
    """The layers of the architecture, and that each import is a declared dependency."""
    session.install(".", *group("imports"))
    session.run("lint-imports", "--no-cache")
    session.run("deptry", "src")


@nox.session
def typing(session: nox.Session) -> None:
    """Strict mypy on the library."""
    session.install(".", *group("typing", "test"))
    session.run("mypy")


@nox.session
def tests(session: nox.Session) -> None:
    """The suite against the built wheel, on SQLite and on a real PostgreSQL."""
    session.install(".", *group("test", "examples"))
    session.run("pytest", "-n", "2", *session.posargs)


@nox.session
def storm(session: nox.Session) -> None:
    """Every fault at once, for long: `nox -s storm -- --seeds 1-5 --seconds 60`; `-- --help` tells the rest."""
    session.install(".", *group("test"))
    session.run("python", "-m", "tests.acceptance.storm", *session.posargs)


@nox.session
def lowest(session: nox.Session) -> None:
    """The same suite with every direct dependency at its lower bound; needs the oldest Python we support."""
    with tempfile.TemporaryDirectory() as folder:
        constraints = Path(folder) / "lowest.txt"
        constraints.write_text("\n".join(lowest_pins()), encoding="utf-8")
        session.install("--constraint", str(constraints), ".", *group("test", "examples"))
    session.run("pytest", "-n", "2", *session.posargs)


@nox.session
def examples(session: nox.Session) -> None:
    """The example plugin and the example app, installed as their readers would install them."""
    session.install(".", *(f"./{path}" for path in EXAMPLES), *group("test", "examples"))
    for path in EXAMPLES:
        with session.chdir(path):
            session.run("pytest", *session.posargs)


@nox.session
def docs(session: nox.Session) -> None:
    """The documentation, where a warning is an error."""
    session.install(".", *group("docs"))
    session.run("sphinx-build", "-W", "--keep-going", "-b", "html", "docs", "docs/_build/html")


@nox.session
def bench(session: nox.Session) -> None:
    """Each script of `benchmarks/`, one after the other."""
    session.install(".", *group("test"))
    for script in sorted(Path("benchmarks").glob("*.py")):
        session.run("python", str(script), *session.posargs)


@nox.session
def build(session: nox.Session) -> None:
    """The source distribution and the wheel, into `dist/`."""
    session.install(*group("build"))
    session.run("python", "-m", "build", "--outdir", "dist")
