"""What importing the library costs, and that its names are there."""

import subprocess
import sys

import tenantcollect


def test_import_is_light():
    """``import tenantcollect`` imports neither SQLAlchemy nor typer nor pydantic."""
    code = "import sys, tenantcollect; print([m for m in ('sqlalchemy', 'typer', 'pydantic') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_every_public_name_is_there():
    """Each name of the face can be had, and the list of them is complete."""
    for name in tenantcollect.__all__:
        assert getattr(tenantcollect, name) is not None
    assert {"connect", "hookimpl", "upsert", "raise_for_response", "CollectorOptions"} <= set(tenantcollect.__all__)
