"""``config rotate-keys`` (floor: cli)."""

import typer

from tenantcollect.cli.options import DryRun, Json, SomeSource, SomeTenant
from tenantcollect.cli.target import database_of, target_of


def rotate_keys(
    context: typer.Context,
    tenant: SomeTenant = None,
    data_source: SomeSource = None,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Encrypt every stored secret with the newest cipher key; exit with 3 if any cannot be decrypted.

    The first of $TENANTCOLLECT_CIPHER_KEYS is the newest; keep the older ones there until this is done.
    """
    from tenantcollect.cli import tables
    from tenantcollect.cli.failures import NEEDS_ACTION
    from tenantcollect.cli.printing import print_json_rows, print_table
    from tenantcollect.cli.selecting import require_some

    with target_of(context).orchestrator() as orchestrator:
        rows = orchestrator.rotate_keys(tenant, data_source, dry_run=dry_run)
        if not rows:
            require_some(orchestrator, (tenant, data_source, None))
        database = database_of(orchestrator)
    if json:
        print_json_rows(database, rows)
    else:
        print_table(database, "secrets, as they stand" if dry_run else "secrets encrypted", tables.ROTATIONS, rows)
    if any(row.unreadable for row in rows):
        raise typer.Exit(NEEDS_ACTION)
