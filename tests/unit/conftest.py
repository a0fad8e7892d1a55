"""Real distributions: metadata and modules on the import path, as pip would have left them."""

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from textwrap import dedent

import pytest


class Packages:
    """Installs distributions into a folder that is on the import path."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def install(
        self,
        name: str,
        version: str = "1.0",
        collectors: Mapping[str, str] | None = None,
        extensions: Mapping[str, str] | None = None,
        modules: Mapping[str, str] | None = None,
    ) -> None:
        info = self.path / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        groups = {"collectors": collectors or {}, "extensions": extensions or {}}
        text = "".join(
            f"[tenantcollect.{group}]\n" + "".join(f"{key} = {value}\n" for key, value in points.items())
            for group, points in groups.items()
        )
        (info / "entry_points.txt").write_text(text)
        for module, source in (modules or {}).items():
            (self.path / f"{module}.py").write_text(dedent(source))


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Packages]:
    """An empty place for distributions; what was imported from it is forgotten afterwards."""
    folder = tmp_path / "site-packages"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delenv("TENANTCOLLECT_PLUGINS", raising=False)
    yield Packages(folder)
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None) or "").startswith(str(folder)):
            del sys.modules[name]
