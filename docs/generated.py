"""Writes the parts of these pages that come from the code: ``python docs/generated.py``.

A part stands between ``<!-- generated: name -->`` and ``<!-- end -->``. The tests refuse a page that differs.
"""

import ast
import inspect
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

import attrs
import typer

from tenantcollect import catalog, collectors, errors, events, hookspecs, orchestrator, reports
from tenantcollect.cli.app import app
from tenantcollect.compose import connect
from tenantcollect.registry.signatures import HOOKS
from tenantcollect.testing import COLLECTOR_POINTS, Collected, CollectorHarness, CollectorSuite, collect, plugin
from tenantcollect.testing.collectors import CollectorTests

DOCS = Path(__file__).parent
PART = re.compile(r"(?<=<!-- generated: )(\w+) -->\n.*?(?=<!-- end -->)", re.DOTALL)
ON_SOURCE = frozenset({"config", "check", "tables", "erase"})
ON_BOTH = frozenset({"options"})
LONGEST_SIGNATURE = 90


def refreshed(page: str) -> str:
    """The page with each of its generated parts as the code has it now."""
    return PART.sub(lambda found: f"{found[1]} -->\n{PARTS[found[1]]()}\n", page)


def prose(documented: object) -> str:
    """The docstring as Markdown, in one line per paragraph."""
    text = inspect.getdoc(documented) if not isinstance(documented, str) else inspect.cleandoc(documented)
    text = re.sub(r":\w+:`~?\.?([\w.]+)`", lambda role: f"`{role[1].rpartition('.')[2]}`", text or "")
    paragraphs = (" ".join(part.split()) for part in text.replace("``", "`").split("\n\n"))
    return "\n\n".join(paragraphs)


def first_line(documented: object) -> str:
    """The first paragraph, fit for a cell of a table."""
    return cell(prose(documented).split("\n\n")[0])


def cell(text: str) -> str:
    """``text`` in one line, in which no vertical bar ends the cell."""
    return " ".join(text.replace("|", "\\|").split())


def row(*cells: str) -> str:
    """A line of a table."""
    return f"| {' | '.join(cells)} |"


def code(names: Iterable[object]) -> str:
    """The names in code type, separated by commas."""
    return ", ".join(f"`{name}`" for name in names)


def signature(function: Callable[..., Any]) -> str:
    """The parameters with their defaults, without their types."""
    found = inspect.signature(function)
    plain = [p.replace(annotation=p.empty) for p in found.parameters.values() if p.name != "self"]
    text = str(inspect.Signature(plain))
    if len(text) > LONGEST_SIGNATURE:
        text = "(\n    " + ",\n    ".join(text[1:-1].split(", ")) + ",\n)"
    return re.sub(r"datetime\.timedelta\((?:seconds=(\d+))?\)", lambda m: f"timedelta(seconds={m[1] or 0})", text)


def hooks() -> str:
    """Every hook, from hookspecs."""
    lines = []
    for name, arguments in HOOKS.items():
        place = "the data source" if name in ON_SOURCE else "the script"
        place = "either" if name in ON_BOTH else place
        lines.append(row(f"`{name}`", code(arguments), place, cell(prose(getattr(hookspecs, name)))))
    return "\n".join(("| hook | arguments | stands on | answers |", "|---|---|---|---|", *lines))


def event_classes() -> str:
    """Every event, from the classes."""
    lines = [
        row(f"`{kind.__name__}`", code(attribute.name for attribute in attrs.fields(kind)), first_line(kind))
        for kind in get_args(events.Event)
    ]
    return "\n".join(("| event | fields | sent when |", "|---|---|---|", *lines))


def error_classes() -> str:
    """Every error, from the tree."""
    lines = [
        row(
            f"`{kind.__name__}`",
            f"`{kind.__mro__[1].__name__}`".replace("_Retry", "TenantcollectError"),
            cell(prose(kind)),
        )
        for kind in _tree(errors.TenantcollectError)
        if not kind.__name__.startswith("_")
    ]
    return "\n".join(("| error | is a | says |", "|---|---|---|", *lines))


def _tree(kind: type[Exception]) -> Iterator[type[Exception]]:
    if kind.__module__ == errors.__name__:
        yield kind
        for below in kind.__subclasses__():
            yield from _tree(below)


def options() -> str:
    """Every option, from CollectorOptions and the sentences below its fields."""
    said = _sentences(collectors.CollectorOptions)
    lines = [
        row(f"`{a.name}`", f"`{a.default}`", cell(said[a.name])) for a in attrs.fields(collectors.CollectorOptions)
    ]
    return "\n".join(("| option | default | means |", "|---|---|---|", *lines))


def context() -> str:
    """What a context holds and does."""
    said = _sentences(collectors.Context)
    values = [row(f"`{name}`", cell(text)) for name, text in said.items()]
    methods = [row(f"`{name}{signature(method)}`", cell(prose(method))) for name, method in _public(collectors.Context)]
    return "\n".join(("| `context.` | |", "|---|---|", *values, *methods))


def _sentences(kind: type) -> dict[str, str]:
    """The texts that stand below the fields of a class."""
    found = re.findall(r'^    (\w+): [^"]*?\n    """(.*?)"""', inspect.getsource(kind), re.DOTALL | re.MULTILINE)
    return {name: prose(text) for name, text in found}


def connecting() -> str:
    """How to connect."""
    return f"```text\ntenantcollect.connect{signature(connect)}\n```\n\n{prose(connect)}"


def methods() -> str:
    """Every method of the orchestrator."""
    found = _public(orchestrator.Orchestrator)
    return "\n\n".join(f"### {name}\n\n```text\n{name}{signature(m)}\n```\n\n{prose(m)}" for name, m in found)


def _public(kind: type) -> Iterator[tuple[str, Callable[..., Any]]]:
    return ((name, value) for name, value in vars(kind).items() if name[0] != "_" and inspect.isfunction(value))


def collecting() -> str:
    """How to collect one window in a test, and what comes of it."""
    call = f"```text\ncollect{signature(collect)}\n```\n\n{prose(collect)}"
    fields = code(attribute.name for attribute in attrs.fields(Collected))
    return f"{call}\n\n### Collected\n\n{fields}\n\n{prose(Collected)}"


def suite() -> str:
    """What a suite of collectors is told, and what it tests."""
    told = [row(f"`{name}`", cell(text)) for name, text in _sentences(CollectorTests).items()]
    found = [test for kind in reversed(CollectorSuite.__mro__) for test in _public(kind) if test[0].startswith("test_")]
    tests = [row(f"`{name}`", first_line(test)) for name, test in found]
    return "\n".join(("| attribute | |", "|---|---|", *told, "", "| test | holds |", "|---|---|", *tests))


def harness() -> str:
    """What a harness of collectors does."""
    lines = [row(f"`{name}{signature(method)}`", first_line(method)) for name, method in _public(CollectorHarness)]
    points = f"The points that `at` is told of, those of the context any number of times: {code(COLLECTOR_POINTS)}."
    return "\n".join((prose(CollectorHarness), "", "| `harness.` | |", "|---|---|", *lines, "", points))


def fixtures() -> str:
    """Every fixture of the pytest plugin."""
    functions = [node for node in ast.parse(inspect.getsource(plugin)).body if isinstance(node, ast.FunctionDef)]
    public = {node.name: ast.get_docstring(node) or "" for node in functions if node.name.startswith("tenantcollect_")}
    lines = [row(f"`{name}`", cell(prose(text))) for name, text in public.items()]
    return "\n".join(("| fixture | is |", "|---|---|", *lines))


def layers() -> str:
    """The layers, as import-linter holds them."""
    project = tomllib.loads((DOCS.parent / "pyproject.toml").read_text(encoding="utf-8"))
    held = next(c["layers"] for c in project["tool"]["importlinter"]["contracts"] if c["type"] == "layers")
    return "\n".join(("```text", *held, "```"))


def rows() -> str:
    """The rows that come back."""
    kinds = [kind for kind in vars(reports).values() if isinstance(kind, type) and attrs.has(kind)]
    kinds += [catalog.Source, catalog.Rotation]
    lines = [row(f"`{k.__name__}`", code(a.name for a in attrs.fields(k)), first_line(k)) for k in kinds]
    return "\n".join(("| row | fields | is |", "|---|---|---|", *lines))


def commands() -> str:
    """Every command with its options, from the command line itself."""
    return "\n\n".join(_command(name, command) for name, command in _commands(typer.main.get_command(app)))


def _commands(group: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _commands(command, f"{prefix}{name} ")
        else:
            yield f"{prefix}{name}", command


def _command(name: str, command: Any) -> str:
    words = " ".join(_argument(p) for p in command.params if p.param_type_name == "argument")
    head = f"### {name}\n\n`tenantcollect {name} {words}".rstrip() + f"`\n\n{prose(command.help)}"
    lines = [_option(p) for p in command.params if p.param_type_name == "option" and not p.hidden]
    return "\n".join((head, "", "| option | |", "|---|---|", *lines))


def _argument(argument: Any) -> str:
    word = (argument.metavar or argument.name.upper()).strip("[]")
    return (word if argument.required else f"[{word}]") + ("…" if argument.nargs == -1 else "")


def _option(option: Any) -> str:
    flags = " / ".join((*sorted(option.opts, key=len, reverse=True), *option.secondary_opts))
    metavar = f" {option.metavar}" if option.metavar and not option.is_flag else ""
    variable = f" Also `${option.envvar}`." if option.envvar else ""
    return row(f"`{flags}{metavar}`", cell(f"{option.help or ''}{variable}"))


PARTS: Mapping[str, Callable[[], str]] = {
    "collect": collecting,
    "commands": commands,
    "connect": connecting,
    "context": context,
    "errors": error_classes,
    "events": event_classes,
    "fixtures": fixtures,
    "harness": harness,
    "hooks": hooks,
    "layers": layers,
    "methods": methods,
    "options": options,
    "rows": rows,
    "suite": suite,
}


def main() -> None:
    """Bring every page up to date."""
    for path in sorted(DOCS.glob("*/*.md")):
        page = path.read_text(encoding="utf-8")
        path.write_text(refreshed(page), encoding="utf-8")


if __name__ == "__main__":
    main()
