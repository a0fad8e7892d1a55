"""How a child builds the orchestrator of its parent, and what is said where it cannot (PROTOCOL 6)."""

import pytest

from tenantcollect import ConfigurationError
from tenantcollect.contrib.processes import Processes
from tests.processes import apps


@pytest.mark.parametrize("app", ["sync", "sync:", ":build", "", 7])
def test_an_app_that_names_no_attribute_is_refused_where_it_is_given(sqlite_url: str, app: str) -> None:
    """Not by each child, for each tenant."""
    with pytest.raises(ConfigurationError, match="not of the form module:attribute"):
        apps.parent(sqlite_url, Processes(), app)
