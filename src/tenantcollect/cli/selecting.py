"""Tells a misspelt selector from one that merely has nothing to show (floor: cli)."""

from collections.abc import Collection
from typing import TYPE_CHECKING

from tenantcollect.errors import ConfigurationError
from tenantcollect.registry.signatures import did_you_mean

if TYPE_CHECKING:
    from tenantcollect.orchestrator import Orchestrator

Names = str | Collection[str] | None
Chosen = tuple[Names, Names, Names]
"""Tenants, data sources and scripts, as they were given; None = any."""


def require_some(orchestrator: "Orchestrator", chosen: Chosen) -> None:
    """Raise :class:`ConfigurationError`, with near matches, if selectors are given that no key at all matches.

    A key that is configured, or that has state, does match, whether or not it has anything to show.
    """
    tenants, sources, scripts = (_given(names) for names in chosen)
    if not (tenants or sources or scripts) or any(orchestrator.status(*chosen, limit=1)):
        return
    known_tenants: set[str] = set()
    known_sources: set[str] = set()
    for source in orchestrator.configured():
        chosen_source = source.data_source in (sources or [source.data_source])
        if not scripts and chosen_source and source.tenant_id in (tenants or [source.tenant_id]):
            return  # its collectors are not installed, so that it has no keys
        known_tenants.add(source.tenant_id)
        known_sources.add(source.data_source)
    known_scripts = {name.partition(".")[2] for name in orchestrator.registry.names()}
    hints = (
        did_you_mean(name, known)
        for names, known in ((tenants, known_tenants), (sources, known_sources), (scripts, known_scripts))
        for name in names
        if name not in known
    )
    shown = "/".join(",".join(names) or "*" for names in (tenants, sources, scripts)).removesuffix("/*")
    hint = next(filter(None, hints), "; see: tenantcollect status")
    raise ConfigurationError(f"no such key: {shown.removesuffix('/*')}{hint}")


def tell_if_nothing_is_configured(orchestrator: "Orchestrator") -> None:
    """Nothing to show may be the wrong database."""
    from tenantcollect.cli.printing import note

    if not any(True for _ in orchestrator.configured()):
        note("no tenant has a data source configured here; is this the right database?")


def _given(names: Names) -> list[str]:
    return [names] if isinstance(names, str) else list(names or ())
