"""The dependency graph of one tenant: resolution, order, and problems that name exactly who is concerned."""

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenantcollect.graph import Graph, Node

LETTERS = "abcdefg"


def chained(edges: Mapping[str, set[str]]) -> Graph:
    """One data source whose scripts depend on each other by ``edges``."""
    return Graph.of(Node(f"x.{name}", (name,), tuple(sorted(needs))) for name, needs in edges.items())


edges_between = st.fixed_dictionaries({name: st.sets(st.sampled_from(LETTERS), max_size=2) for name in LETTERS})


def reachable(edges: Mapping[str, set[str]], start: str) -> set[str]:
    """Every name on some way from ``start``, of at least one step."""
    found: set[str] = set()
    todo = list(edges[start])
    while todo:
        name = todo.pop()
        if name not in found:
            found.add(name)
            todo += edges[name]
    return found


@given(edges_between)
def test_exactly_those_on_a_cycle_are_named(edges: Mapping[str, set[str]]) -> None:
    """A collector has a problem if it depends on itself, directly or not; innocent ones have none."""
    guilty = {f"x.{name}" for name in LETTERS if name in reachable(edges, name)}
    assert set(chained(edges).problems) == guilty


@given(edges_between)
def test_the_cycle_that_is_told_is_one(edges: Mapping[str, set[str]]) -> None:
    """Each step of it is a dependency, it ends where it began, and the collector concerned stands on it."""
    for name, problem in chained(edges).problems.items():
        circle = problem.partition("in a circle: ")[2].partition(";")[0].split(" -> ")
        assert circle[0] == circle[-1]
        assert name in circle
        assert len(circle) == len(set(circle)) + 1
        steps = zip(circle, circle[1:], strict=False)  # noqa: RUF007 - pairs of a list that may be short
        assert all(to.partition(".")[2] in edges[at.partition(".")[2]] for at, to in steps)


@given(edges_between)
def test_g5_the_order_has_every_sound_collector_after_its_upstreams(edges: Mapping[str, set[str]]) -> None:
    """All without a problem, each once, upstreams first."""
    graph = chained(edges)
    assert sorted(graph.order) == sorted(set(graph.upstreams) - set(graph.problems))
    place = {name: index for index, name in enumerate(graph.order)}
    for name in graph.order:
        assert all(place[up] < place[name] for up in graph.upstreams[name] if up in place)


@given(edges_between, st.sampled_from(LETTERS))
def test_ancestors_and_descendants_are_all_that_can_be_reached(edges: Mapping[str, set[str]], name: str) -> None:
    """Each once, the collector itself never, the direct ones first."""
    graph, key = chained(edges), f"x.{name}"
    above, below = list(graph.ancestors(key)), list(graph.descendants(key))
    assert len(above) == len(set(above))
    assert set(above) == {f"x.{other}" for other in reachable(edges, name)} - {key}
    assert set(above[: len(edges[name] - {name})]) == {f"x.{other}" for other in edges[name]} - {key}
    assert len(below) == len(set(below))
    assert set(below) == {f"x.{other}" for other in LETTERS if name in reachable(edges, other)} - {key}
    assert set(graph.downstreams(key)) == {f"x.{other}" for other in LETTERS if name in edges[other]}


def test_a_bare_name_means_the_same_data_source_first() -> None:
    """Two sources may provide one resource: each collector means its own."""
    graph = Graph.of(
        [
            Node("github.repository", ("repository",)),
            Node("gitlab.repository", ("repository",)),
            Node("github.commit", ("commit",), ("repository",)),
            Node("gitlab.commit", ("commit",), ("repository",)),
        ]
    )
    assert graph.upstreams["github.commit"] == ("github.repository",)
    assert graph.upstreams["gitlab.commit"] == ("gitlab.repository",)
    assert graph.problems == {}


def test_a_bare_name_means_the_only_provider_among_the_others() -> None:
    """By what it provides, not by what it is called; naming it twice is one edge."""
    graph = Graph.of([Node("hr.people", ("team", "person")), Node("jira.issue", ("issue",), ("team", "person"))])
    assert graph.upstreams["jira.issue"] == ("hr.people",)


def test_source_and_resource_are_explicit() -> None:
    """The explicit form reaches past the own data source."""
    graph = Graph.of(
        [
            Node("github.team", ("team",)),
            Node("hr.team", ("team",)),
            Node("github.member", ("member",), ("hr:team", "team")),
        ]
    )
    assert graph.upstreams["github.member"] == ("hr.team", "github.team")


@pytest.mark.parametrize("dependency", ["nothing", "github:nothing", "nowhere:team", ":team", "github:", ""])
def test_a_missing_resource_is_named_with_the_cure(dependency: str) -> None:
    """For the one that needs it alone: the others keep their places."""
    graph = Graph.of([Node("github.team", ("team",)), Node("github.member", ("member",), (dependency, dependency))])
    [(name, problem)] = graph.problems.items()
    assert name == "github.member"
    assert problem.count(repr(dependency)) == 1
    assert "install it, or configure the data source" in problem
    assert graph.order == ("github.team",)


def test_an_ambiguous_resource_names_all_providers() -> None:
    """The cure is the explicit form, which then resolves."""
    providers = [Node("hr.team", ("team",)), Node("ldap.team", ("team",))]
    problem = Graph.of([*providers, Node("jira.issue", ("issue",), ("team",))]).problems["jira.issue"]
    assert "'team', which several provide (hr.team, ldap.team); write source:resource" in problem
    explicit = Graph.of([*providers, Node("jira.issue", ("issue",), ("ldap:team",))])
    assert explicit.upstreams["jira.issue"] == ("ldap.team",)


def test_two_providers_in_one_data_source_get_another_cure() -> None:
    """The explicit form would not help there, so it is not advised."""
    nodes = [Node("hr.a", ("team",)), Node("hr.b", ("team", "team")), Node("hr.c", ("c",), ("hr:team",))]
    problem = Graph.of(nodes).problems["hr.c"]
    assert "several provide (hr.a, hr.b); in one data source only one may provide a resource" in problem


def test_a_collector_may_say_twice_what_it_provides() -> None:
    """It is not ambiguous with itself."""
    graph = Graph.of([Node("hr.a", ("team", "team")), Node("hr.c", ("c",), ("team",))])
    assert graph.upstreams["hr.c"] == ("hr.a",)


def test_a_broken_collector_is_waited_for_not_missing() -> None:
    """Its dependents have no problem of their own: they wait, and the root cause is found upstream."""
    graph = Graph.of([Node("hr.member", ("member",), ("team",))], [Node("hr.team", ("team",))])
    assert graph.problems == {}
    assert graph.upstreams == {"hr.member": ("hr.team",)}
    assert graph.order == ("hr.member",)
    assert list(graph.ancestors("hr.member")) == ["hr.team"]
    assert list(graph.descendants("hr.team")) == ["hr.member"]


def test_a_collector_that_depends_on_itself_is_a_circle() -> None:
    """The shortest one there is."""
    assert "x.a -> x.a;" in chained({"a": {"a"}}).problems["x.a"]


def test_both_problems_of_one_collector_are_told() -> None:
    """Curing the first must not be answered with a second that was known."""
    graph = Graph.of([Node("x.a", ("a",), ("b", "gone")), Node("x.b", ("b",), ("a",))])
    assert "'gone'" in graph.problems["x.a"]
    assert "x.a -> x.b -> x.a" in graph.problems["x.a"]
    assert "'gone'" not in graph.problems["x.b"]


def test_those_below_a_circle_are_innocent_and_keep_their_upstream() -> None:
    """They have no problem; they wait for one that has."""
    graph = chained({"a": {"b"}, "b": {"a"}, "c": {"a"}, "d": set()})
    assert set(graph.problems) == {"x.a", "x.b"}
    assert graph.upstreams["x.c"] == ("x.a",)
    assert graph.order == ("x.c", "x.d")
