"""A collector for each way to let a secret out; run by ``test_collector_suite``, not by our own suite."""

import logging

from tenantcollect import hookimpl
from tests.testing.shop import TOKEN, Good, suites

SECRETS = "no_secret_leaks"


class Leaks(Good):
    """Collects well, whoever asks, and repeats its secret where ``leak`` says."""

    def leak(self, token, context):
        raise NotImplementedError

    @hookimpl
    def run(self, env, db, tenant_id, start_date, end_date, context):
        context.raise_if_cancelled()
        self.said = self.leak(env["SHOP_TOKEN"], context)
        self.write(db, tenant_id, self.items(TOKEN, start_date, end_date), context)


class LeaksIntoRows(Leaks):
    breaks = {SECRETS: "SHOP_TOKEN stands in a row"}

    def leak(self, token, context):
        return f"?token={token}"

    def write(self, db, tenant_id, items, context):
        super().write(db, tenant_id, [(name + self.said, at) for name, at in items], context)


class LeaksIntoCursor(Leaks):
    breaks = {SECRETS: "SHOP_TOKEN stands in context.cursor"}

    def leak(self, token, context):
        context.cursor = {"next": f"https://shop.example/?token={token}"}


class LeaksIntoWarnings(Leaks):
    breaks = {SECRETS: "SHOP_TOKEN stands in a warning"}

    def leak(self, token, context):
        context.warn(f"{token} will expire")


class LeaksIntoErrors(Leaks):
    breaks = {SECRETS: "send it in a header"}

    def leak(self, token, context):
        if token != TOKEN:
            raise OSError(f"GET https://shop.example/?token={token}: 401")


class LeaksIntoTheLog(Leaks):
    breaks = {SECRETS: "log through context.logger"}

    def leak(self, token, context):
        logging.getLogger("shop").info("asking with %s", token)


class LeaksOnTheScreen(Leaks):
    breaks = {SECRETS: "do not print"}

    def leak(self, token, context):
        print(token)  # noqa: T201 - the mistake itself


globals().update(suites(globals()))
