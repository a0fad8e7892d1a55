"""An Acme Tracker made of lists, served by a real HTTP server."""

import json
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta

from werkzeug import Request, Response

ADMITTED = "tracker-token-of-acme"
PAGE = 20

Item = dict[str, str]


class FakeTracker:
    """``fail`` may answer a request instead of the data; ``requests`` has every request that got data."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.teams: list[Item] = []
        self.repositories: dict[str, list[Item]] = {}
        self.commits: dict[str, list[Item]] = {}
        self.requests: list[str] = []
        self.fail: Callable[[Request], Response | None] | None = None

    def add_repository(self, team: str, name: str, *, created_at: datetime, commits: Iterable[datetime]) -> None:
        """A repository with one commit at each of the given times."""
        times = list(commits)
        if team not in self.repositories:
            self.teams.append({"id": team, "name": team.title()})
        self.repositories.setdefault(team, []).append(
            {
                "id": name,
                "name": name,
                "created_at": created_at.isoformat(),
                "updated_at": times[-1].isoformat(),
            }
        )
        self.commits[name] = [
            {"sha": f"{name}-{number}", "author": "ada", "committed_at": time.isoformat()}
            for number, time in enumerate(times)
        ]

    def shas(self, start: datetime, end: datetime) -> set[str]:
        """What a collector has to find between ``start`` and ``end``."""
        return {
            commit["sha"]
            for commits in self.commits.values()
            for commit in commits
            if start <= datetime.fromisoformat(commit["committed_at"]) < end
        }

    def answer(self, request: Request) -> Response:
        """The handler of the HTTP server."""
        if request.headers.get("Authorization") != f"Bearer {ADMITTED}":
            return Response("bad credentials", status=401)
        if self.fail and (failure := self.fail(request)):
            return failure
        self.requests.append(request.full_path)
        return Response(json.dumps(self._data(request)), content_type="application/json")

    def _data(self, request: Request) -> object:
        match request.path.split("/")[2:], request.args:
            case ["me"], _:
                return {"organization": "Acme"}
            case ["teams"], _:
                return {"items": self.teams}
            case ["teams", team, "repositories"], {"since": since, "page": page}:
                return _page(self.repositories[team], "updated_at", since, "9999-12-31T00:00:00+00:00", page)
            case ["repositories", name, "commits"], {"from": start, "to": end, "page": page}:
                return _page(self.commits[name], "committed_at", start, end, page)
        raise AssertionError(f"no such path: {request.full_path}")


def _page(items: list[Item], date: str, start: str, end: str, page: str) -> object:
    since, until = datetime.fromisoformat(start), datetime.fromisoformat(end)
    found = [item for item in items if since <= datetime.fromisoformat(item[date]) < until]
    last = int(page) * PAGE
    return {"items": found[last - PAGE : last], "next_page": int(page) + 1 if last < len(found) else None}


def every(step: timedelta, start: datetime, end: datetime) -> list[datetime]:
    """``start``, and each ``step`` after it until ``end``."""
    return [start + step * number for number in range((end - start) // step)]
