"""G6: no form of a secret survives masking, and no text forges a line."""

import base64
import copy
import json
import pickle
import re
import time
import traceback
import unicodedata
from html import escape
from typing import Any
from urllib.parse import quote, quote_plus, urlencode

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tenantcollect.errors import AuthenticationError, TenantcollectError
from tenantcollect.secrets import MASK, Masker, Secret, discreetly, one_line, storable

printable = st.characters(exclude_categories=["Cs"])
secrets = st.text(printable, min_size=4, max_size=30)
# Letters that cannot be part of what the masker itself writes.
tokens = st.text("abcXYZ0189+/=?&%'\"\\ é漢😀\n-_~", min_size=8, max_size=40).filter(lambda s: len(s.strip()) >= 8)
around = st.text(st.sampled_from("GHKLMghkl .:"), max_size=12)

ENCODINGS = {
    "plain": lambda s: s,
    "url": lambda s: quote(s, safe=""),
    "url path": quote,
    "url form": quote_plus,
    "url query": lambda s: urlencode({"G": s}).removeprefix("G="),
    "url lower case": lambda s: re.sub("%..", lambda code: code[0].lower(), quote(s, safe="")),
    "javascript url": lambda s: quote(s, safe="!'()*"),
    "json": lambda s: json.dumps(s)[1:-1],
    "json utf-8": lambda s: json.dumps(s, ensure_ascii=False)[1:-1],
    "php json": lambda s: json.dumps(s).replace("/", "\\/")[1:-1],
    "repr": lambda s: repr(s)[1:-1],
    "repr among quotes": lambda s: repr("'\"" + s)[4:-1],
    "ascii": lambda s: ascii(s)[1:-1],
    "repr of bytes": lambda s: repr(s.encode())[2:-1],
    "url of a url": lambda s: quote(quote(s, safe=""), safe=""),
    "form of a form": lambda s: quote_plus(quote_plus(s)),
    "html": escape,
    "html of html": lambda s: escape(escape(s)),
    "json of json": lambda s: json.dumps(json.dumps(s)[1:-1])[1:-1],
    "json in capitals": lambda s: re.sub(r"(?<=\\u)....", lambda code: code[0].upper(), json.dumps(s)[1:-1]),
    "repr of json": lambda s: repr(json.dumps(s)[1:-1])[1:-1],
    "repr of repr": lambda s: repr(repr(s)[1:-1] + "'\"")[1:-4],
}


@pytest.mark.parametrize("encoding", ENCODINGS)
@given(secret=tokens, left=around, right=around)
def test_g6_a_secret_is_masked_in_every_spelling(encoding: str, secret: str, left: str, right: str) -> None:
    """Plain, url-encoded, JSON, repr: the text around it stays, of the secret nothing does."""
    masked = Masker.of([secret]).mask(left + ENCODINGS[encoding](secret) + right)
    assert masked.startswith(left)
    assert masked.endswith(right)
    middle = masked.removeprefix(left)[: len(masked) - len(left) - len(right)]
    assert set(middle) <= set(MASK)


@given(secret=tokens, data=st.data())
@example(secret="sk:live+a/b=", data=None)
def test_g6_a_secret_is_masked_whatever_a_client_leaves_as_it_is(secret: str, data: st.DataObject | None) -> None:
    """Each client has its own list of characters that may stand in a URL: yarl writes sk:live%2Ba/b%3D."""
    safe = data.draw(st.text(st.sampled_from("/?&'~+= "))) if data else "/:"
    assert Masker.of([secret]).mask(f"G{quote(secret, safe=safe)}H") == f"G{MASK}H"


@given(secret=st.text(printable, min_size=6, max_size=40), left=st.binary(max_size=7), right=st.binary(max_size=7))
@example(secret="hunter2!", left=b"user:", right=b"")
@example(secret="hunter2!", left=b"", right=b"")
def test_g6_a_secret_is_masked_inside_base64_at_every_alignment(secret: str, left: bytes, right: bytes) -> None:
    """As in Basic auth: of the secret's characters at most the two at the edges, which hold others' bits, stay."""
    raw = secret.encode()
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        masked = Masker.of([secret]).mask(encode(left + raw + right).decode())
        assert MASK in masked
        first, last = (len(left) * 8) // 6, -(-(len(left) + len(raw)) * 8 // 6)
        whole = encode(left + raw + right).decode()
        assert masked.startswith(whole[:first])
        assert len(masked.replace(MASK, "")) <= len(whole) - (last - first) + 2


@given(st.lists(secrets, min_size=1, max_size=4), st.text(printable, max_size=20), st.data())
def test_g6_no_secret_is_left_however_secrets_overlap(
    given_secrets: list[str], noise: str, data: st.DataObject
) -> None:
    """Secrets inside, beside and across each other: none is left in the text."""
    pieces = data.draw(st.lists(st.sampled_from([*given_secrets, noise]), max_size=6))
    masked = Masker.of(given_secrets).mask("".join(pieces))
    assert not any(secret in masked for secret in given_secrets if "*" not in secret)


def test_g6_overlapping_secrets_leave_no_rest() -> None:
    """The end of the second is not shown because the first was found before it."""
    assert Masker.of(["abcdef", "defghi"]).mask("<abcdefghi>") == f"<{MASK}>"
    assert Masker.of(["aaaa"]).mask("<aaaaaaa>") == f"<{MASK}>"


def test_g6_a_line_of_a_private_key_is_masked() -> None:
    """A traceback often shows one line of it; and a file often ends with a newline that the text has not."""
    key = "-----BEGIN KEY-----\nMIIEvQIBADANBgkqhkiG\nAAAABBBBCCCCDDDD\nab\n-----END KEY-----\n"
    masker = Masker.of([key])
    assert masker.mask("bad line MIIEvQIBADANBgkqhkiG: cab") == f"bad line {MASK}: cab"
    assert masker.mask(key.strip()) == MASK
    assert Masker.of(["token-1\n"]).mask("Bearer token-1") == f"Bearer {MASK}"


def test_g6_what_stands_in_a_json_document_is_secret_by_itself() -> None:
    """Of a service account's key file the private key is what is used, and told; short words in it are words."""
    key = "-----BEGIN PRIVATE KEY-----\nMIIEvCANARYQIBADANB\n-----END PRIVATE KEY-----\n"
    masker = Masker.of([json.dumps({"private_key": key, "ids": ["0123456789ab"], "kind": "user", "n": 1, "x": None})])
    assert masker.mask(f"cannot sign with {key.strip()}") == f"cannot sign with {MASK}"
    assert masker.mask("MIIEvCANARYQIBADANB, 0123456789ab of the user") == f"{MASK}, {MASK} of the user"


@pytest.mark.parametrize("secret", ["[" * 10_000, "[12,", '{"a": 1', "[" + "1" * 5000 + "]"])
def test_what_only_begins_like_json_is_a_secret_all_the_same(secret: str) -> None:
    """Nothing is raised where secrets are learnt."""
    assert Masker.of([secret]).mask(f"<{secret}>") == f"<{MASK}>"


@pytest.mark.parametrize("secret", ["k" * 61 + "é0", "token-" + "0123456789" * 9])
def test_g6_the_beginning_that_postgresql_says_of_a_long_name_is_masked(secret: str) -> None:
    """A secret in the place of a name is told by its first 63 bytes."""
    told = secret.encode()[:63].decode(errors="ignore")
    assert Masker.of([secret]).mask(f'relation "{told}" does not exist') == f'relation "{MASK}" does not exist'


def test_short_secrets_are_left_or_every_word_would_be_masked() -> None:
    """Three characters are no secret; nor is an empty value."""
    masker = Masker.of(["", "abc", "   ", "\n a \n"])
    assert masker.mask("abc and a cab") == "abc and a cab"


@given(st.text(printable, max_size=60).filter(lambda t: "://" not in t and "=" not in t))
def test_a_text_without_secrets_is_not_touched(text: str) -> None:
    """Without a secret, a URL or a DSN there is nothing to hide."""
    assert Masker().mask(text) == text


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("postgresql://joe:s3cret@db/x", "postgresql://joe:***@db/x"),
        ("redis://:s3cret@db", "redis://:***@db"),
        ("postgresql+psycopg://joe:s3@cret@db/x and more@home", "postgresql+psycopg://joe:***@db/x and more@home"),
        ('{"url": "https://joe:s3cret@db", "mail": "a@b.c"}', '{"url": "https://joe:***@db", "mail": "a@b.c"}'),
        ("ssh://git@host/x https://host:8080/x", "ssh://git@host/x https://host:8080/x"),
        ("host=db password=s3cret dbname=x", "host=db password=*** dbname=x"),
        ("host=db PASSWORD='s3 cret' dbname=x", "host=db PASSWORD=*** dbname=x"),
        ("mysql://db/x?ssl_client_secret_key=s3cret&a=b", "mysql://db/x?ssl_client_secret_key=***&a=b"),
        ("postgresql://db/x?user=joe&password=s3cret&sslmode=on", "postgresql://db/x?user=joe&password=***&sslmode=on"),
    ],
)
def test_g6_passwords_of_urls_and_dsns_are_masked_unasked(text: str, masked: str) -> None:
    """The database's own URL is nobody's configured secret, and stands in many a driver's message."""
    assert Masker().mask(text) == masked


def test_g6_a_masker_shows_no_secret_of_its_own() -> None:
    """Neither in its repr nor in its text."""
    assert "hunter2" not in repr(Masker.of(["hunter2!"])) + str(Masker.of(["hunter2!"]))


@given(st.text(max_size=50), st.integers(0, 9000), st.text(max_size=50))
def test_what_is_stored_is_storable_and_shows_both_ends(head: str, length: int, tail: str) -> None:
    """No NUL, no surrogate, at most 4000 characters; the end, where the cause stands, is kept."""
    text = head + "x" * length + tail
    stored = storable(text)
    assert len(stored) <= 4000
    assert "\0" not in stored
    assert stored.encode() == stored.encode("utf-8", "strict")
    clean = text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()
    assert stored == clean or (stored.startswith(clean[:1900]) and stored.endswith(clean[-1900:]))
    assert storable(stored) == stored


def test_g6_what_is_stored_is_masked_before_it_is_cut() -> None:
    """A secret across the cut does not survive in halves."""
    for position in range(1980, 2000):
        text = "x" * position + "hunter2!" + "y" * 4000
        assert "hunte" not in Masker.of(["hunter2!"]).storable(text)
        assert "nter2!" not in Masker.of(["hunter2!"]).storable(text)


@given(st.text(max_size=60))
def test_no_text_forges_a_line_or_drives_a_terminal(text: str) -> None:
    """What is printed is one line, without control characters, bidirectional marks or surrogates; again: the same."""
    line = one_line(text)
    assert len(line.splitlines()) <= 1
    assert not any(unicodedata.category(c) in {"Cc", "Cs", "Zl", "Zp"} for c in line)
    assert not any(
        unicodedata.bidirectional(c) in {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"} for c in line
    )
    assert one_line(line) == line


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("ok\nERROR forged", r"ok\nERROR forged"),
        ("\x1b[31mred\x07", r"\x1b[31mred\x07"),
        ("a\u2028b\u0085c", r"a\u2028b\x85c"),
        ("\u202egnp.exe", r"\u202egnp.exe"),
        ("\u061c\ud800", r"\u061c\ud800"),
        ("Zoë 漢 😀 \u200d", "Zoë 漢 😀 \u200d"),
    ],
)
def test_forgeries_are_shown_as_what_they_are(text: str, line: str) -> None:
    """Escaped, not dropped; other people's letters are left alone."""
    assert one_line(text) == line


def test_masking_a_long_text_takes_a_moment() -> None:
    """A megabyte of output of a collector with ten secrets, one of them a key file."""
    key = "\n".join(f"{n:064d}" for n in range(30))
    masker = Masker.of([key, *(f"secret-number-{n}" for n in range(10))])
    text = "a=://b:c password " * 55_000 + "secret-number-7"
    began = time.thread_time()
    assert "secret-number-7" not in masker.mask(text)
    assert time.thread_time() - began < 5


@pytest.mark.parametrize(
    ("secret", "text"),
    [
        ("aaaa", "a" * 5_000_000),
        ("abab", "ab" * 2_500_000),
        ('\\"' * 20, '\\\\\\"' * 19 * 1000 + "x"),
        ("\\\n" * 40, "\\\\\\n" * 39 * 1000 + "x"),
        ("&amp;" * 40, "&amp;amp;" * 39 * 1000 + "x"),
        ("%25" * 40, "%2525" * 39 * 1000 + "x"),
        ("\\" * 40 + "a", "\\" * 1_000_000),
        ("S" * 60 + "T", "S" * 1_000_000),
    ],
    ids=["one letter", "two", "quotes", "line breaks", "html", "percent", "backslashes", "nearly"],
)
def test_masking_takes_no_longer_for_a_text_that_repeats_the_secret(secret: str, text: str) -> None:
    """Megabytes of the same letters, or of what almost is the secret: each character is looked at a few times."""
    began = time.thread_time()
    Masker.of([secret]).mask(text)
    assert time.thread_time() - began < 2


def test_g6_a_secret_shows_itself_only_to_who_asks() -> None:
    """Not in repr, str, format or JSON; no copy on its way to a file."""
    secret = Secret("hunter2!")
    shown = f"{secret} {secret!r} {secret:>20} {[secret]}" + "%s %r" % (secret, secret)  # noqa: UP031 - also that way
    assert "hunter2!" not in shown
    assert secret.reveal() == Secret(secret).reveal() == "hunter2!"
    for give_away in (pickle.dumps, json.dumps, Secret.__getstate__):
        with pytest.raises(TypeError):
            give_away(secret)
    assert copy.copy(secret) is copy.deepcopy([secret])[0] is secret
    assert not hasattr(secret, "__dict__")


@pytest.mark.parametrize("missing", [None, 5, b"hunter2!"])
def test_what_is_no_text_is_no_secret(missing: Any) -> None:
    """A variable that is not set would remove a stored value, or be stored as if it were one."""
    with pytest.raises(TypeError, match=type(missing).__name__):
        Secret(missing)


def test_secrets_are_equal_by_their_text() -> None:
    """Two of the same text are one in a set; a text is not a secret."""
    assert {Secret("a"), Secret("a"), Secret("b")} == {Secret("b"), Secret("a")}
    assert Secret("a") != "a"


def test_g6_of_other_peoples_errors_around_secrets_no_message_is_kept() -> None:
    """Class and place are; our own errors were written to be read."""
    place = r"resolve_env raised KeyError at .*test_secrets\.py"
    token = "hunter2!"

    def ask_the_vault() -> None:
        raise KeyError(token)

    with pytest.raises(TenantcollectError, match=place) as raised:
        discreetly("resolve_env", ask_the_vault)
    assert "hunter2!" not in "".join(traceback.format_exception(raised.value))
    assert raised.value.__cause__ is raised.value.__context__ is None

    def withdrawn() -> None:
        try:
            ask_the_vault()
        except KeyError as error:
            raise AuthenticationError("renew the app") from error

    with pytest.raises(AuthenticationError, match="renew the app") as ours:
        discreetly("resolve_env", withdrawn)
    assert ours.value.__cause__ is ours.value.__context__ is None
    assert discreetly("resolve_env", lambda: 1) == 1


@pytest.mark.parametrize(("given", "told"), [(SystemExit, TenantcollectError), (KeyboardInterrupt, KeyboardInterrupt)])
def test_g6_an_exit_is_told_as_an_error_and_an_interrupt_goes_on_without_its_words(
    given: type[BaseException], told: type[BaseException]
) -> None:
    """Neither is an Exception, and each may hold a secret."""

    token = "hunter2!"

    def leave() -> None:
        raise given(token)

    with pytest.raises(told) as raised:
        discreetly("resolve_env", leave)
    assert "hunter2!" not in "".join(traceback.format_exception(raised.value))
