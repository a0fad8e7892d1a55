"""What a customer sees of the app."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import create_engine, text

URL = "/customers/acme/crm"
GOOD = {"CRM_TOKEN": "a-long-token", "CRM_REGION": "us", "CRM_PAGE": "20", "CRM_NOTE": ""}


def test_the_form_is_rendered_from_the_schema(client: TestClient) -> None:
    """Each key of the collector's config model is an input of the fitting kind; names are escaped."""
    html = client.get(URL).text
    assert 'name="CRM_TOKEN" type="password" value="" required' in html
    assert 'name="CRM_PAGE" type="number" value="50"' in html
    assert 'name="CRM_ARCHIVED" type="checkbox">' in html
    assert "<option selected>eu</option>" in html
    assert "Acme &lt;Corp&gt;" in html


def test_a_secret_is_stored_and_never_echoed(client: TestClient) -> None:
    """The page says that there is one; saving the form again without it keeps it."""
    assert client.post(URL, data=GOOD).status_code == 200
    html = client.get(URL).text
    assert GOOD["CRM_TOKEN"] not in html
    assert 'placeholder="unchanged"' in html
    assert 'name="CRM_PAGE" type="number" value="20"' in html
    assert client.post(URL, data=GOOD | {"CRM_TOKEN": "", "CRM_PAGE": "30"}).status_code == 200
    assert client.post("/customers/acme/run").json()["windows"]["completed"] == 90


def test_what_is_wrong_is_said_at_its_field(client: TestClient) -> None:
    """Nothing is stored, the other fields keep what was typed, and the wrong secret is not repeated."""
    response = client.post(URL, data=GOOD | {"CRM_TOKEN": "2short", "CRM_PAGE": "1000"})
    assert response.status_code == 422
    assert 'id="CRM_TOKEN-problem"' in response.text
    assert 'id="CRM_PAGE-problem"' in response.text
    assert 'value="1000"' in response.text
    assert "2short" not in response.text
    assert 'id="CRM_REGION-problem"' not in response.text
    assert client.get("/customers/acme/status").json()["status"] == []


def test_a_pass_and_its_status(client: TestClient) -> None:
    """A run collects the customer's 90 days; the status shows them covered."""
    client.post(URL, data=GOOD)
    report = client.post("/customers/acme/run").json()
    assert (report["windows"]["completed"], report["needs_action"]) == (90, False)
    [row] = client.get("/customers/acme/status").json()["status"]
    assert (row["status"], row["script"], len(row["coverage"]), row["holes"]) == (
        "COMPLETED",
        "contact",
        1,
        [],
    )


def test_refused_credentials_are_explained_and_cured(client: TestClient) -> None:
    """The status names the reason and what to do; a new token, saved in the form, cures it."""
    client.post(URL, data=GOOD | {"CRM_TOKEN": "revoked-token"})
    report = client.post("/customers/acme/run").json()
    assert (report["windows"]["failed"], report["needs_action"]) == (1, True)
    [row] = client.get("/customers/acme/status").json()["explain"]
    assert row["reason"] == "auth_failed"
    assert "the CRM refused the token" in row["detail"]
    client.post(URL, data=GOOD)
    assert client.post("/customers/acme/run").json()["windows"]["completed"] == 90


def test_two_passes_at_once_run_every_window_once(client: TestClient, database_url: str) -> None:
    """Impatient customers press the button twice."""
    client.post(URL, data=GOOD)
    with ThreadPoolExecutor(4) as threads:
        reports = [f.result().json() for f in [threads.submit(client.post, "/customers/acme/run") for _ in range(4)]]
    assert sum(report["windows"]["completed"] for report in reports) == 90
    engine = create_engine(database_url)
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM crm_contact")) == 90
    engine.dispose()


@pytest.mark.parametrize("path", ["/customers/globex/crm", "/customers/acme/jira", "/customers/globex/status"])
def test_what_is_not_there_is_a_404(client: TestClient, path: str) -> None:
    """An unknown customer or data source is no bug of the server."""
    assert client.get(path).status_code == 404
