"""The grammar of keys, and what a selection speaks of."""

import unicodedata
from enum import Enum

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tenantcollect.errors import ConfigurationError
from tenantcollect.keys import EVERYTHING, Key, Selection, checked_name, checked_tenant, split_collector

names = st.from_regex(r"[a-z][a-z0-9_-]{0,62}", fullmatch=True)
few_names = st.sampled_from(["a", "b", "c"])
keys = st.builds(Key, few_names, few_names, few_names)


class Tenant(str, Enum):  # noqa: UP042 - hosts have such ones, and their str() is not their text
    ACME = "acme"


@given(st.text(st.characters(exclude_categories=["C", "Zl", "Zp"]), min_size=1, max_size=120))
def test_a_visible_tenant_id_is_kept_in_nfc(text: str) -> None:
    """Whatever prints is a tenant id, whatever the script; checked again it stays itself."""
    assume(text == text.strip())
    tenant_id = checked_tenant(text)
    assert tenant_id == unicodedata.normalize("NFC", text) == checked_tenant(tenant_id)


@given(st.text(max_size=20), st.characters(categories=["C", "Zl", "Zp"]), st.text(max_size=20))
def test_an_invisible_character_is_refused_wherever_it_stands(left: str, hidden: str, right: str) -> None:
    """Control characters, surrogates, bidirectional marks: two tenants must not look the same."""
    with pytest.raises(ConfigurationError, match=r"^tenant_id must not "):
        checked_tenant(left + hidden + right)


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (None, "must be text, not NoneType"),
        (b"acme", "must be text, not bytes"),
        (7, "must be text, not int"),
        ("", "must not be empty"),
        (" acme", "must not begin or end with a space"),
        ("acme\n", "must not begin or end with a space"),
        ("acme\u00a0", "must not begin or end with a space"),
        ("ac\0me", "must not hold control or invisible"),
        ("ac\x1bme", "must not hold control or invisible"),
        ("ac\u2028me", "must not hold control or invisible"),
        ("ac\u202eme", "must not hold control or invisible"),
        ("ac\u200bme", "must not hold control or invisible"),
        ("ac\ud800me", "must not hold control or invisible"),
        ("a" * 201, "must not be longer than 200"),
    ],
)
def test_a_bad_tenant_id_is_named_with_its_problem(value: object, problem: str) -> None:
    """Before any connection; the message names the field and never raises anything else."""
    with pytest.raises(ConfigurationError, match=problem) as caught:
        checked_tenant(value)
    assert str(caught.value).startswith("tenant_id ")
    assert str(caught.value).isprintable()


def test_tenant_ids_are_compared_after_nfc() -> None:
    """Two spellings of one visible name are one tenant; the length is that of the normal form."""
    assert Key("Zoe\u0308", "git", "commit") == Key("Zo\u00eb", "git", "commit")
    assert len(checked_tenant("e\u0301" * 200)) == 200


def test_a_text_of_another_class_becomes_plain_text() -> None:
    """A str-based Enum gives its text, not its name in the program."""
    assert type(checked_tenant(Tenant.ACME)) is str
    assert checked_tenant(Tenant.ACME) == "acme"
    assert type(checked_name(Tenant.ACME, "script")) is str


@given(names)
def test_names_follow_one_grammar(name: str) -> None:
    """Lower case, digits, _ and -, a letter first, at most 63: data source, script and resource alike."""
    assert checked_name(name, "script") == name


@pytest.mark.parametrize(
    "value", ["", "A", "1a", "a.b", "a b", "a\n", "ä", "a" * 64, None, 7, b"a", "a:b", "x" * 5000 + "!"]
)
def test_a_bad_name_says_which_one_and_what_is_allowed(value: object) -> None:
    """The message names the field, shows a short form of the value and the grammar."""
    with pytest.raises(ConfigurationError, match=r"^script .* is not a valid name") as caught:
        checked_name(value, "script")
    assert len(str(caught.value)) < 200
    assert set(caught.value.fields) == {"script"}


@given(names, names)
def test_a_collector_is_its_data_source_and_its_script(data_source: str, script: str) -> None:
    """Splitting is the way back from the name; without a dot it is the data source itself."""
    key = Key("acme", data_source, script)
    assert split_collector(key.collector) == (data_source, script)
    assert split_collector(data_source) == (data_source, None)
    assert str(key) == f"acme/{data_source}/{script}"


@pytest.mark.parametrize("name", ["", ".", "a.", ".a", "a.b.c", "A.b", "a b"])
def test_a_bad_collector_name_is_refused(name: str) -> None:
    """Neither part may be empty or hold a dot."""
    with pytest.raises(ConfigurationError, match="is not a valid name"):
        split_collector(name)


@given(st.lists(keys))
def test_keys_are_ordered_by_tenant_source_and_script(some: list[Key]) -> None:
    """The one order in which locks are taken."""
    assert sorted(some) == sorted(some, key=lambda key: (key.tenant_id, key.data_source, key.script))


parts = st.none() | few_names | st.lists(few_names, max_size=2)


@given(keys, parts, parts, parts)
def test_a_selection_matches_what_each_part_names(
    key: Key, tenants: list[str] | str | None, sources: list[str] | str | None, scripts: list[str] | str | None
) -> None:
    """One text, several, or None for every one; all parts must agree."""
    chosen = Selection(tenants, sources, scripts)
    pairs = ((tenants, key.tenant_id), (sources, key.data_source), (scripts, key.script))
    assert chosen.matches(key) == all(part is None or value in part for part, value in pairs)


@given(keys)
def test_an_empty_collection_selects_nothing(key: Key) -> None:
    """A list that a program computed and that came out empty must not erase every tenant."""
    assert not Selection([]).matches(key)
    assert not Selection(key.tenant_id, scripts=iter(())).matches(key)
    assert EVERYTHING.matches(key)


@pytest.mark.parametrize("part", ["tenant_ids", "data_sources", "scripts"])
def test_a_selection_checks_its_names(part: str) -> None:
    """A name that cannot exist is an error, not an empty answer."""
    with pytest.raises(ConfigurationError):
        Selection(**{part: ["fine", " not "]})
