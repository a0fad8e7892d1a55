"""Which config values are marked as secret."""

import pytest

from tenantcollect import ConfigurationError, Secret

from .conftest import Calls, collector, recording


@pytest.mark.parametrize("dry_run", [False, True])
@pytest.mark.parametrize(
    ("misspelt", "cure"), [("TOKN", "did you mean 'TOKEN'?"), ("s3cr3t-v4lue", "there is: ORG, TOKEN")]
)
def test_a_mark_on_no_key_is_refused(make, misspelt, cure, dry_run):
    """The value would stay shown. What was given is not repeated: it may be the value; nothing is stored."""
    orchestrator = make({"acme.a": collector(recording(Calls()))})
    env = {"TOKEN": "tok-3f9a77", "ORG": "acme"}
    with pytest.raises(ConfigurationError) as refused:
        orchestrator.configure("t1", "acme", env, secrets=[misspelt], dry_run=dry_run)
    assert cure in str(refused.value)
    assert refused.value.fields.keys() == {"secrets"}
    assert misspelt not in str(refused.value)
    assert list(orchestrator.configured()) == []


def test_what_is_given_stored_or_removed_may_be_marked(make):
    """All of these are keys of the data source."""
    orchestrator = make({"acme.a": collector(recording(Calls()))})
    orchestrator.configure("t1", "acme", {"TOKEN": Secret("tok-3f9a77"), "ORG": "acme"}, secrets=["ORG"])
    orchestrator.configure("t1", "acme", {}, secrets=["TOKEN"])
    orchestrator.configure("t1", "acme", {"ORG": None}, secrets="ORG")
    assert orchestrator.config("t1", "acme") == {"TOKEN": "***"}
