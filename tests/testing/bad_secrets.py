"""A collector for each way to let a secret out; run by ``test_collector_suite``, not by our own suite."""

import logging
import os
import warnings

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


class LeaksBelowPython(Leaks):
    """A library in C, or a child process, writes to the descriptor itself."""

    breaks = {SECRETS: "SHOP_TOKEN stands in what was printed"}

    def leak(self, token, context):
        os.write(2, f"token {token}\n".encode())


class LeaksIntoTheEnvironment(Leaks):
    breaks = {SECRETS: "SHOP_TOKEN stands in os.environ"}

    def leak(self, token, context):
        os.environ["SHOP_API_TOKEN"] = token


class LeaksIntoPythonWarnings(Leaks):
    breaks = {SECRETS: "do not give it to warnings.warn()"}

    def leak(self, token, context):
        with warnings.catch_warnings():
            warnings.simplefilter("default")  # here, as everywhere in our tests, they are errors
            warnings.warn(f"{token} is deprecated", DeprecationWarning, stacklevel=1)


class LeaksIntoNotes(Leaks):
    breaks = {SECRETS: "SHOP_TOKEN stands in the text of an error"}

    def leak(self, token, context):
        if token != TOKEN:
            error = OSError("refused")
            error.add_note(f"asked with {token}")
            raise error


class LeaksIntoAGroup(Leaks):
    breaks = {SECRETS: "SHOP_TOKEN stands in the text of an error"}

    def leak(self, token, context):
        if token != TOKEN:
            raise ExceptionGroup("two failed", [OSError("no answer"), OSError(f"?token={token}: 401")])


class LeaksIntoResume(Leaks):
    """It is stored by a checkpoint only, and gone when the window is sealed."""

    breaks = {SECRETS: "SHOP_TOKEN stands in context.cursor or context.resume of a checkpoint"}

    def leak(self, token, context):
        context.resume = {"next": f"https://shop.example/?token={token}"}
        context.checkpoint()


globals().update(suites(globals()))
