"""Which statements of a collector are refused before they are sent (floor: backends, pure; PROTOCOL 7, level 0).

It protects against mistakes, not against attacks: it reads the text of a statement, so what a DO block or a
function builds is not seen. The guard row keeps the transaction, the host's policies and GRANTs keep the tenants.
"""

import re
from collections.abc import Iterator

from attrs import frozen

from tenantcollect.errors import IsolationRefused, TransactionBroken

__all__ = ["Refusal", "refusal"]

# The common statements, of which only the first word needs to be read.
HARMLESS = re.compile(r"\s*(?:INSERT|UPDATE|DELETE|MERGE|SELECT|WITH|COPY|VALUES)\b", re.IGNORECASE)
QUOTED = re.compile(
    r"--[^\n]*|(?P<comment>/\*)|\bE'(?:[^'\\]|\\.|'')*'|'(?P<text>(?:[^']|'')*)'|\"(?P<name>(?:[^\"]|\"\")*)\""
    r"|(?<!\w)(?P<dollars>\$(?:[^\W\d]\w*)?\$).*?(?P=dollars)",
    re.IGNORECASE | re.DOTALL,
)
PLAIN_NAME = re.compile(r"[\w.]+")
# A trigger or a function whose body ends with END.
WITH_BODY = re.compile(
    r"\s*CREATE\s+(?:OR\s+REPLACE\s+)?(?:TEMP(?:ORARY)?\s+)?(?:TRIGGER|FUNCTION|PROCEDURE)\b.*\bBEGIN\b",
    re.IGNORECASE | re.DOTALL,
)

# ROLLBACK TO a savepoint is no mistake.
ENDING = re.compile(
    r"(?:COMMIT|END|ABORT|BEGIN|START TRANSACTION|PREPARE TRANSACTION"
    r"|ROLLBACK(?! (?:WORK |TRANSACTION )?TO\b))\b",
    re.IGNORECASE,
)
PROTECTED = r"(?:ROLE|SESSION|SESSION_AUTHORIZATION|TENANTCOLLECT)\b"
# Without LOCAL a setting would outlive the window, in the host's pooled connection.
LASTING = re.compile(
    rf"(?:SET(?! LOCAL (?!{PROTECTED})[\w.$]+(?=[ =])| CONSTRAINTS\b| TRANSACTION\b)|RESET|DISCARD)\b"
    r"(?: [\w.]+){0,2}",
    re.IGNORECASE,
)
# What sets without SET: a function, a view that can be updated, a name in escapes, a role's own default.
SETTING = re.compile(r"set_config|pg_settings|\bU&", re.IGNORECASE)
SETS = re.compile(
    r"\bUPDATE (?:ONLY )?(?:(?:U&)?pg_catalog\.)?(?:U&)?pg_settings\b"
    r"|\bALTER (?:ROLE|USER|DATABASE|SYSTEM)\b|\bU&\? ?\(",
    re.IGNORECASE,
)
SET_CONFIG = re.compile(r"\bset_config\b", re.IGNORECASE)
LOCAL_CONFIG = re.compile(
    rf"set_config ?\( ?'(?!{PROTECTED})[\w.]+' ?, ?(?:'[^']*'|[\w.%$:()]+?) ?, ?'?true'? ?\)", re.IGNORECASE
)


@frozen
class Refusal:
    """What was refused, and the error that says so."""

    deed: str
    error: type[TransactionBroken]


def refusal(statement: str) -> Refusal | None:
    """Why ``statement``, which may be several, must not be sent; None = it may."""
    if HARMLESS.match(statement) and ";" not in statement and not SETTING.search(statement):
        return None
    has_body = WITH_BODY.match(statement) is not None
    refusals = (_of_one(part) for part in _statements(statement) if not (has_body and part.upper() == "END"))
    return next(filter(None, refusals), None)


def _of_one(statement: str) -> Refusal | None:
    if found := ENDING.match(statement):
        return Refusal(found.group().upper(), TransactionBroken)
    if found := LASTING.match(statement):
        return Refusal(found.group().upper(), IsolationRefused)
    if found := SETS.search(statement):
        return Refusal(found.group().upper(), IsolationRefused)
    calls = SET_CONFIG.finditer(statement)
    if any(not LOCAL_CONFIG.match(statement, call.start()) for call in calls):
        return Refusal("set_config() other than set_config('a_name', value, true)", IsolationRefused)
    return None


def _statements(text: str) -> Iterator[str]:
    """The statements of ``text``, one space between words, without comments and what literals hold."""
    for statement in "".join(_pieces(text)).split(";"):
        yield re.sub(r" ?\. ?", ".", " ".join(statement.split()))


def _pieces(text: str) -> Iterator[str]:
    at = 0
    while found := QUOTED.search(text, at):
        yield text[at : found.start()]
        yield _bare(found)
        at = _end_of_comment(text, found.end()) if found["comment"] else found.end()
    yield text[at:]


def _bare(found: re.Match[str]) -> str:
    """A name in quotes as if it had none, a literal with a plain name as it is, nothing else of what is inside."""
    if found["name"] is not None:
        return found["name"] if PLAIN_NAME.fullmatch(found["name"]) else "?"
    if found["text"] is not None:
        return found.group() if PLAIN_NAME.fullmatch(found["text"]) else "'?'"
    return " " if found["comment"] or found.group().startswith("--") else "'?'"


def _end_of_comment(text: str, at: int) -> int:
    """Where the comment that was opened before ``at`` is closed; PostgreSQL's nest."""
    depth = 1
    for mark in re.compile(r"/\*|\*/").finditer(text, at):
        depth += 1 if mark.group() == "/*" else -1
        if not depth:
            return mark.end()
    return len(text)
