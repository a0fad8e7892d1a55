"""A client of the API: paths, pages and times, no tenants and no tables."""

import ssl
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Self

import httpx2

from acme_tracker.settings import TrackerConfig
from tenantcollect import raise_for_response

Item = dict[str, Any]
TLS = ssl.create_default_context()
"""Made once: to read the certificates takes longer than many a request."""


class Tracker:
    """The API as one tenant's token sees it. Every method may raise what ``raise_for_response`` raises."""

    def __init__(self, config: TrackerConfig) -> None:
        token = config.TRACKER_TOKEN.get_secret_value()
        self._client = httpx2.Client(
            base_url=str(config.TRACKER_URL),
            headers={"Authorization": f"Bearer {token}"},
            timeout=30,
            verify=TLS,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def organization(self) -> str:
        """The name of the organization that the token belongs to."""
        return str(self._get("me")["organization"])

    def teams(self) -> list[Item]:
        """All teams, as they are now."""
        return list(self._get("teams")["items"])

    def repositories(self, team_id: str, since: datetime) -> Iterator[Item]:
        """The repositories of a team that changed since then."""
        page: int | None = 1
        while page is not None:
            body = self._get(f"teams/{team_id}/repositories", since=since.isoformat(), page=page)
            yield from body["items"]
            page = body["next_page"]

    def commits(self, repository_id: str, start: datetime, end: datetime, page: int) -> tuple[list[Item], int | None]:
        """One page of the commits in ``[start, end)``, and the number of the next page, if there is one."""
        times = {"from": start.isoformat(), "to": end.isoformat()}
        body = self._get(f"repositories/{repository_id}/commits", **times, page=page)
        return body["items"], body["next_page"]

    def _get(self, path: str, **query: str | int) -> Any:
        response = self._client.get(path, params=query)
        raise_for_response(response)
        return response.json()


def moment(text: str) -> datetime:
    """The instant that a text of the API names, in UTC: SQLite keeps no time zone."""
    return datetime.fromisoformat(text).astimezone(UTC)
