"""What is told of a hold (floor: contracts, above the schedule and the events)."""

from tenantcollect.events import HoldLifted, HoldPlaced
from tenantcollect.schedule import Hold

__all__ = ["lifted", "placed"]


def placed(hold: Hold) -> HoldPlaced:
    """The event of a new hold."""
    return HoldPlaced(
        tenant_id=hold.tenant_id,
        data_source=hold.data_source,
        script=hold.script,
        reason=hold.reason,
        until=hold.until,
        detail=hold.detail,
    )


def lifted(hold: Hold) -> HoldLifted:
    """The event of a hold that went away."""
    return HoldLifted(tenant_id=hold.tenant_id, data_source=hold.data_source, script=hold.script, reason=hold.reason)
