"""Texts that hide, and masking by value: what makes G6 true for texts that other people wrote (floor: ground, pure)."""

import base64
import json
import re
from collections.abc import Callable, Iterable, Iterator
from html import escape
from typing import NoReturn, Self, SupportsIndex, TypeVar
from urllib.parse import quote, quote_plus

from attrs import field, frozen

from tenantcollect.errors import TenantcollectError

__all__ = ["MASK", "Masker", "Secret", "discreetly", "holds_password", "one_line", "storable"]

T = TypeVar("T")

MASK = "***"
SHORTEST_SECRET = 4
SHORTEST_LINE = 16
SHORTEST_LEAF = 8
LONGEST_TEXT = 4000
LONGEST_NAME = 63
"""Bytes that PostgreSQL repeats of a name: of a longer one it says the beginning."""
LONGEST_PERIOD = 64
MOST_ESCAPES = 8
"""Backslashes that may stand for one: repr of JSON of repr."""
NAMES = "password|passwd|pwd|secret"
"""What is part of the name of a password, as in ``sslpassword``."""
PASSWORDS = re.compile(
    r"""(?P<url>(?<=://)[^/\s:@]*:)[^/\s"'<>]+@|(?P<pair>(?:NAMES)[\w-]{0,40}=)(?:'[^']*'|[^\s&'"]+)""".replace(
        "NAMES", NAMES
    ),
    re.IGNORECASE,
)
PASSWORD_IN_URL = re.compile(rf"://[^/]*:[^@]+@|[?&][^=&]*(?:{NAMES})[^=&]*=", re.IGNORECASE)
"""`user:password@` behind the scheme, or a password among the options."""
UNCHANGED = re.compile(r"[A-Za-z0-9_.-]+")
"""What every encoding leaves as it is, but base64."""
INTRODUCED = {
    "\\": rf"\\\\{{0,{MOST_ESCAPES - 1}}}+",
    "%": "%(?:25)*",
    "&": "&(?:amp;)*",
    "+": r"(?:\+|%(?:25)*2[bB])",
    **{digit: f"[{digit.lower()}{digit.upper()}]" for digit in "abcdefABCDEF"},
}
"""How the characters of an escape may be written: it may be escaped again, its digits are of either case."""
# Control, line-separating and bidirectional characters that would let a text forge a line or a terminal, and
# surrogates, which no stream can write.
FORGERY = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


class Secret:
    """A text that shows itself to nobody who does not ask: not in repr, str, format or JSON, and it does not pickle.

    Raises :class:`TypeError` for what is no text: a secret that is missing must not pass for one.
    """

    __slots__ = ("_text",)

    def __init__(self, text: "str | Secret") -> None:
        if not isinstance(text, str | Secret):
            raise TypeError(f"a Secret is made of a text, not of {type(text).__name__}")
        self._text: str = text.reveal() if isinstance(text, Secret) else text

    def reveal(self) -> str:
        """The text itself."""
        return self._text

    def __eq__(self, other: object) -> bool:
        return self._text == other._text if isinstance(other, Secret) else NotImplemented

    def __hash__(self) -> int:
        return hash((Secret, self._text))

    def __repr__(self) -> str:
        return f"Secret({MASK!r})"

    def __str__(self) -> str:
        return MASK

    def __format__(self, spec: str) -> str:
        return format(MASK, spec)

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        """Raises :class:`TypeError`: what is pickled is written somewhere."""
        raise TypeError("a Secret does not pickle; hand over where it can be read, not the secret")

    def __getstate__(self) -> NoReturn:
        """Raises :class:`TypeError`, as pickling does."""
        self.__reduce_ex__(4)

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self


def discreetly(what: str, act: Callable[[], T]) -> T:
    """What ``act`` returns: code of the host's that handles secrets which nobody has told us yet, and cannot be masked.

    Of what it raises, our own errors go through, without what led to them; of any other the class and the place are
    kept, not the message. An interrupt stays one. What ``act`` returns must be plain: what is lazy raises elsewhere.
    """
    failure: BaseException
    try:
        return act()
    except TenantcollectError as error:
        failure = error
    except KeyboardInterrupt:
        failure = KeyboardInterrupt()
    except BaseException as error:  # noqa: BLE001 - whatever it is, also SystemExit, its message may hold a secret
        told = f"{what} raised {type(error).__name__} {_place(error)}"
        failure = TenantcollectError(f"{told}; its message may hold a secret and is not kept")
    failure.__cause__ = failure.__context__ = None
    raise failure  # out here nothing is being handled, so that no chain leads to what was raised in there


def _place(error: BaseException) -> str:
    """Where ``error`` was raised."""
    at = error.__traceback__
    while at is not None and at.tb_next is not None:
        at = at.tb_next
    return f"at {at.tb_frame.f_code.co_filename}:{at.tb_lineno}" if at is not None else "somewhere"


@frozen
class Masker:
    """Replaces secret values in any text, also in the forms that URLs, JSON, HTML, repr and base64 give them.

    An escape is found however often it was escaped again. In base64 a secret is found at any place of a longer text,
    as in ``user:secret`` of Basic auth; not one that is broken over several lines. Its own repr shows none of them.
    """

    _forms: tuple[tuple[str, str], ...] = field(repr=False, default=())
    """Each with its longest part that no encoding changes: a text without that needs no closer look."""

    @classmethod
    def of(cls, secrets: Iterable[str]) -> Self:
        """A masker of ``secrets``; values shorter than four characters would mask words and are left.

        Of a secret of several lines, such as a private key, each long line is a secret too, and of a JSON document
        each text in it.
        """
        parts = {part for secret in secrets for part in _parts(secret) if len(part) >= SHORTEST_SECRET}
        forms = sorted(parts.union(*map(_base64_forms, parts)))
        return cls(tuple((max(UNCHANGED.findall(form), key=len, default=""), form) for form in forms))

    def mask(self, text: str) -> str:
        """``text`` with every secret, and every password inside a URL or a DSN, replaced by ``***``."""
        shown, at = [], 0
        for start, end in _merged(self._spans(text)):
            shown += [text[at:start], MASK]
            at = end
        return PASSWORDS.sub(_hidden, "".join((*shown, text[at:])))

    def storable(self, text: str) -> str:
        """``text`` masked, then cut, as errors, warnings and progress are stored."""
        return storable(self.mask(text))

    def finds(self, text: str) -> bool:
        """Whether any secret stands in ``text``."""
        return any(self._spans(text))

    def _spans(self, text: str) -> Iterator[tuple[int, int]]:
        for unchanged, form in self._forms:
            if unchanged in text and len(form) <= len(text):
                yield from (found.span() for found in re.finditer(_pattern(form), text))


def holds_password(url: str) -> bool:
    """Whether a URL, which need not be readable as one, says a password."""
    return PASSWORD_IN_URL.search(url) is not None


def _hidden(found: re.Match[str]) -> str:
    return f"{found['url']}{MASK}@" if found["url"] is not None else f"{found['pair']}{MASK}"


def _merged(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(end, merged[-1][1])
        else:
            merged.append((start, end))
    return merged


def _parts(secret: str) -> Iterator[str]:
    for text in (secret, *(leaf for leaf in _leaves(secret) if len(leaf) >= SHORTEST_LEAF)):
        yield text
        yield text.strip()
        yield from (line for line in map(str.strip, text.splitlines()) if len(line) >= SHORTEST_LINE)
        if len(name := text.encode("utf-8", "replace")) > LONGEST_NAME:
            yield name[:LONGEST_NAME].decode("utf-8", "ignore")


def _leaves(secret: str) -> Iterator[str]:
    """The texts in a secret that is a JSON document, such as the key file of a service account."""
    if not secret.lstrip().startswith(("{", "[")):
        return
    try:
        values = [json.loads(secret)]
    except (ValueError, RecursionError):
        return
    while values:
        value = values.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, dict | list):
            values += value.values() if isinstance(value, dict) else value


def _pattern(form: str) -> str:
    """What finds ``form``, each of its characters in any spelling; its repetitions, too, where they overlap."""
    units: list[str] = []
    after_backslash = False
    for part in re.findall(rf"{UNCHANGED.pattern}|\\+|.", form, re.DOTALL):
        if UNCHANGED.match(part):
            units += map(re.escape, part)
        else:
            units += [_unit(part, after_backslash)] + [""] * (len(part) - 1)
        after_backslash = part.startswith("\\")
    again = next((n for n in range(1, min(len(form), LONGEST_PERIOD)) if form.startswith(form[n:])), 0)
    return "".join(units) + (f"(?:{''.join(units[-again:])})*+" if again else "")


def _unit(part: str, after_backslash: bool) -> str:
    """One character, or several backslashes, in all spellings."""
    if part.startswith("\\"):
        return rf"(?:\\{{{len(part)},{len(part) * MOST_ESCAPES}}}+|(?:{_spelt('%5C')}){{{len(part)}}})"
    raw = part.encode("utf-8", "surrogatepass")
    urls = (quote(part, safe="", errors="surrogatepass"), quote_plus(part, errors="surrogatepass"))
    spellings = {"\\" + part, ascii(part)[1:-1], json.dumps(part)[1:-1], repr(raw)[2:-1], *urls, escape(part)}
    if after_backslash:  # which took those of this escape, too
        spellings |= {spelling[1:] for spelling in spellings if spelling.startswith("\\")}
    ways = [*map(_spelt, sorted(spellings - {part})), re.escape(part)]
    return f"(?:{'|'.join(ways)})"


def _spelt(spelling: str) -> str:
    """What finds an escape, and every escape of it."""
    return "".join(INTRODUCED.get(character) or re.escape(character) for character in spelling)


def _base64_forms(secret: str) -> Iterator[str]:
    """What the secret alone decides: inside a longer base64 text it stands at one of three alignments."""
    raw = secret.encode("utf-8", "surrogatepass")
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        for offset in range(3):
            form = encode(b"\0" * offset + raw).decode("ascii").rstrip("=")[(offset * 8 + 5) // 6 :]
            form = form[:-1] if (offset + len(raw)) % 3 else form
            if len(form) >= SHORTEST_SECRET:
                yield form


def storable(text: str) -> str:
    """``text`` without NUL and surrogates, cut at 4000 characters with the end kept visible."""
    text = text.replace("\0", "\ufffd").encode("utf-8", "replace").decode("utf-8")
    if len(text) <= LONGEST_TEXT:
        return text
    half = (LONGEST_TEXT - 5) // 2
    return f"{text[:half]} ... {text[-half:]}"


def one_line(text: str) -> str:
    """``text`` with everything that could forge a line or drive a terminal written as an escape."""
    return FORGERY.sub(lambda match: ascii(match.group())[1:-1], text)
