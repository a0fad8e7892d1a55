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
    r"--[^\r\n]*|(?P<comment>/\*)|\bE'[^'\\]*(?:(?:\\.|'')[^'\\]*)*'|'(?P<text>[^']*(?:''[^']*)*)'"
    r"|\"(?P<name>[^\"]*(?:\"\"[^\"]*)*)\"|(?<!\w)(?P<dollars>\$(?:[^\W\d]\w*)?\$)",
    re.IGNORECASE | re.DOTALL,
)
PLAIN_NAME = re.compile(r"[\w.]+")
# A trigger or a function whose body ends with END.
WITH_BODY = re.compile(
    r"CREATE (?:OR REPLACE )?(?:TEMP(?:ORARY)? )?(?:TRIGGER|FUNCTION|PROCEDURE)\b.*\bBEGIN\b", re.IGNORECASE
)

# ROLLBACK TO a savepoint is no mistake.
ENDING = re.compile(
    r"(?:COMMIT|END|ABORT|BEGIN|START TRANSACTION|PREPARE TRANSACTION"
    r"|ROLLBACK(?! (?:WORK |TRANSACTION )?TO\b))\b",
    re.IGNORECASE,
)
# Without LOCAL a setting would outlive the window, in the host's pooled connection.
LASTING = re.compile(
    r"(?:SET(?! LOCAL (?!(?:ROLE|SESSION|SESSION_AUTHORIZATION|TENANTCOLLECT)\b)[\w.$]+(?=[ =])"
    r"| CONSTRAINTS\b| TRANSACTION\b)|RESET|DISCARD)\b(?: [\w.]+){0,2}",
    re.IGNORECASE,
)
# What sets without SET: a function, a view that can be updated, a name in escapes, a role's own default.
SETTING = re.compile(r"set_config|pg_settings|\bU&", re.IGNORECASE)
SETS = re.compile(
    r"\bUPDATE (?:ONLY )?(?:(?:U&)?pg_catalog\.)?(?:U&)?pg_settings\b"
    r"|\bALTER (?:ROLE|USER(?! MAPPING)|DATABASE|SYSTEM)\b|\bU&\?(?: UESCAPE '[^']*')? ?\(",
    re.IGNORECASE,
)
SET_CONFIG = re.compile(r"\bset_config ?\(", re.IGNORECASE)
# A literal name of none of ours, and `true`, which is LOCAL.
LOCAL_CONFIG = re.compile(
    r"'(?!(?:ROLE|SESSION_AUTHORIZATION)'|TENANTCOLLECT\b)[\w.]+',.+,'?true'?", re.IGNORECASE | re.DOTALL
)


@frozen
class Refusal:
    """What was refused, and the error that says so."""

    deed: str
    error: type[TransactionBroken]


def refusal(statement: str) -> Refusal | None:
    """Why ``statement``, which may be several, must not be sent; None = it may."""
    alone = ";" not in statement.rstrip("; \t\r\n")
    if alone and HARMLESS.match(statement) and not SETTING.search(statement):
        return None
    in_body = False
    for part in _statements(statement):
        if in_body and part.upper() == "END":
            in_body = False
        elif found := _of_one(part):
            return found
        in_body = in_body or WITH_BODY.match(part) is not None
    return None


def _of_one(statement: str) -> Refusal | None:
    if found := ENDING.match(statement):
        return Refusal(found.group().upper(), TransactionBroken)
    if found := LASTING.match(statement) or SETS.search(statement):
        return Refusal(found.group().upper(), IsolationRefused)
    calls = (_arguments(statement, call.end()) for call in SET_CONFIG.finditer(statement))
    if not all(len(call) == 3 and LOCAL_CONFIG.fullmatch(",".join(call)) for call in calls):
        return Refusal("set_config() other than set_config('a_name', value, true)", IsolationRefused)
    return None


def _arguments(statement: str, at: int) -> list[str]:
    """The arguments of the call whose bracket was opened before ``at``; literals hold no bracket and no comma here."""
    depth, found = 1, [""]
    for character in statement[at:]:
        depth += {"(": 1, ")": -1}.get(character, 0)
        if not depth:
            break
        if character == "," and depth == 1:
            found.append("")
        else:
            found[-1] += character
    return [argument.strip() for argument in found]


def _statements(text: str) -> Iterator[str]:
    """The statements of ``text``, one space between words, without comments and what literals hold."""
    for statement in "".join(_pieces(text)).split(";"):
        yield re.sub(r" ?\. ?", ".", " ".join(statement.split()))


def _pieces(text: str) -> Iterator[str]:
    at = 0
    while found := QUOTED.search(text, at):
        yield text[at : found.start()]
        yield _bare(found)
        at = _end(text, found)
    yield text[at:]


def _bare(found: re.Match[str]) -> str:
    """A name in quotes as if it had none, a literal with a plain name as it is, nothing else of what is inside."""
    if found["name"] is not None:
        return found["name"] if PLAIN_NAME.fullmatch(found["name"]) else "?"
    if found["text"] is not None:
        return found.group() if PLAIN_NAME.fullmatch(found["text"]) else "'?'"
    return " " if found["comment"] or found.group().startswith("--") else "'?'"


def _end(text: str, found: re.Match[str]) -> int:
    """Where what was ``found`` ends; a text between dollars that is never closed is no text."""
    if found["comment"]:
        return _end_of_comment(text, found.end())
    if found["dollars"]:
        closed = text.find(found["dollars"], found.end())
        return closed + len(found["dollars"]) if closed >= 0 else found.end()
    return found.end()


def _end_of_comment(text: str, at: int) -> int:
    """Where the comment that was opened before ``at`` is closed; PostgreSQL's nest."""
    depth = 1
    for mark in re.compile(r"/\*|\*/").finditer(text, at):
        depth += 1 if mark.group() == "/*" else -1
        if not depth:
            return mark.end()
    return len(text)
