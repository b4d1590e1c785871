"""What enforcement does to the calls of a host, in sentences; and what keeps them."""

import math
from collections.abc import Mapping
from typing import Any

import pytest

from app.core.insight.calls import Ending, Traffic, Window
from app.core.insight.forecast import Forecast, by_change
from app.core.insight.outlook import outlook
from app.core.insight.suggestions import annotations, policy_for
from app.core.policy.model import GuardPolicy, default_policy
from app.core.policy.reader import parse_policy
from app.core.resources.service_entry import ServiceEntry
from app.core.routes.index import Index
from app.core.routes.observed import Observed
from app.core.routes.plan import desired
from tests.builders import HOST, HTTP, entry, guard_policy, indexed, virtual_service

GRPC = {"number": 81, "name": "grpc", "protocol": "GRPC"}


class Mesh:
    """Traffic to some hosts."""

    def __init__(self, *hosts: str) -> None:
        self.traffic = Traffic(Window("7d"), {HOST, *hosts})

    def calls(self, number: float, namespace: str = "team", host: str = HOST, **endings: float) -> "Mesh":
        """Count calls, and how some of them ended, by the name of the ending."""
        figures = self.traffic.at(host, namespace)
        assert figures
        figures.calls += number
        figures.endings.update({Ending[name]: part for name, part in endings.items()})
        return self

    def failing(self, number: float, ending: str, part: float) -> "Mesh":
        """Count calls of which a part ended in one way."""
        figures = self.calls(number).traffic.at(HOST, "team")
        assert figures
        figures.endings[Ending[ending]] = part
        return self

    def took(self, within: Mapping[float, float], namespace: str = "team", host: str = HOST) -> "Mesh":
        """Count how many calls took no longer than some milliseconds."""
        figures = self.traffic.at(host, namespace)
        assert figures
        for bound, number in within.items():
            figures.put(self.traffic.bound(bound), number)
        return self

    def forecasts(self, index: Index) -> list[Forecast]:
        """What there is to say."""
        return list(outlook(index, self.traffic))

    def says(self, *entries: ServiceEntry, policy: GuardPolicy | None = None, beside: Any = None) -> tuple[str, ...]:
        """The sentences of the first entry, but for the number of calls."""
        observed = [Observed.parse(beside)] if beside else []
        first = next(iter(self.forecasts(indexed(entries or [entry()], observed, policy))))
        return first.sentences[1:]


SLOW = {1000: 100.0, 5000: 990.0, 10_000: 1000.0, math.inf: 1000.0}
FAST = {1000: 1000.0, math.inf: 1000.0}


@pytest.mark.parametrize(
    ("ending", "told"),
    [
        ("TERMINATED", "ended with connection termination (UC): the recipe repairs these"),
        ("UNREACHED", "ended because no connection could be made (UF): the recipe repeats these"),
        ("ANSWERED", "were answered with 5xx (5xx): the recipe repeats these"),
        ("EXHAUSTED", "failed after all tries (URX): more tries would not help these"),
        ("TIMED_OUT", "ended at a timeout (UT)"),
        ("LEFT", "ended because the client closed the connection (DC): no retry repairs these"),
    ],
)
def test_each_kind_of_failure_has_its_own_sentence(ending: str, told: str) -> None:
    assert Mesh().failing(1000, ending, 31).took(FAST).says() == (f"3.1 % of 1,000 calls {told}",)


def test_a_failure_outside_of_retry_on_is_not_promised_to_be_repaired() -> None:
    policy = parse_policy(
        {
            "apiVersion": "serviceentry-guard.io/v1alpha1",
            "kind": "GuardPolicy",
            "virtualService": {"retries": {"retryOn": ["connect-failure"]}},
        }
    )
    (told,) = Mesh().calls(1000, TERMINATED=31).says(policy=policy)
    assert told.endswith("(UC): the policy's retryOn does not repeat these")


def test_an_existing_virtual_service_is_not_reported_as_new() -> None:
    one = entry()
    (emitted,) = _emitted(one)
    told = Mesh().calls(1000, TERMINATED=31).took(SLOW).says(one, beside=emitted)
    assert told == (
        "3.1 % of 1,000 calls ended with connection termination (UC) although the VirtualService repeats them 3 times",
    )


def _emitted(one: ServiceEntry) -> list[Any]:
    return [each.manifest for each in desired([one], default_policy()).objects]


@pytest.mark.parametrize(
    ("given", "beside", "why"),
    [
        ({"resolution": "NONE"}, None, "resolution is NONE"),
        (
            {},
            virtual_service(http=[{"route": [{"destination": {"host": HOST}}]}]),
            "VirtualService team/theirs routes the host",
        ),
    ],
)
def test_without_emitted_objects_the_forecast_gives_the_reason_and_ends_no_call(
    given: Any, beside: Any, why: str
) -> None:
    told = Mesh().calls(1000, TERMINATED=31).took(SLOW).says(entry(**given), beside=beside)
    assert told == (f"3.1 % of 1,000 calls ended with connection termination (UC); no retries: {why}",)


def test_calls_from_namespaces_that_do_not_see_the_virtual_service_stay_as_they_are() -> None:
    policy = guard_policy(virtualService={"reach": "Namespace"})
    mesh = Mesh().calls(1000, "shop", TERMINATED=31).took(SLOW, "shop").calls(10).took(FAST)
    (forecast,) = mesh.forecasts(indexed([entry()], policy=policy))
    assert forecast.sentences[1:] == ("3.1 % of 1,010 calls ended with connection termination (UC)",)
    assert forecast.changed == 0


def test_an_own_entry_decides_before_that_of_another_namespace() -> None:
    mesh = Mesh().calls(5, "team").calls(7, "shop").calls(2, "elsewhere")
    older, own = entry(created="2026-01-01T00:00:00Z"), entry(namespace="shop", created="2026-02-01T00:00:00Z")
    calls = {one.entry.namespace: one.figures.calls for one in mesh.forecasts(indexed([older, own]))}
    assert calls == {"team": 7, "shop": 7}


def test_calls_of_unknown_origin_belong_to_the_oldest_entry() -> None:
    private = entry(exportTo=["."])
    (forecast,) = Mesh().calls(5, "unknown").forecasts(indexed([private]))
    assert forecast.figures.calls == 5


def test_many_callers_are_named_by_the_first_three() -> None:
    mesh = Mesh()
    for place, name in enumerate("abcde"):
        mesh.calls(100 - place, name)
    (forecast,) = mesh.forecasts(indexed([entry()]))
    assert forecast.sentences[0].endswith("from a 20 %, b 20 %, c 20 %, 2 more")


def test_wildcards_that_no_metric_names_say_nothing() -> None:
    wild = entry(hosts=["*.example.com"], resolution="DYNAMIC_DNS")
    assert Mesh().forecasts(indexed([wild])) == []


def test_a_value_that_the_policy_does_not_grant_is_for_the_policy() -> None:
    policy = guard_policy(virtualService={"overrides": {"perTryTimeout": {"max": "3s"}}})
    (told,) = Mesh().calls(1000).took(SLOW).says(policy=policy)
    assert told == (
        "1 % to 90 % of the calls take longer than 2s: each would be ended and repeated; "
        "in the policy, virtualService.retries.perTryTimeout: 10s keeps 99.9 % of them"
    )
    forbidden = guard_policy(virtualService={"overrides": {"perTryTimeout": None}})
    mesh = Mesh().calls(1000).took(SLOW)
    (forecast,) = mesh.forecasts(indexed([entry()], policy=forbidden))
    assert forecast.annotations == {}
    assert list(annotations([forecast])) == []
    suggested = policy_for([forecast], forbidden)
    assert suggested
    assert suggested["namespaces"][0]["virtualService"] == {"retries": {"perTryTimeout": "10s"}}
    assert suggested["exemptions"] == {"annotation": "Allow"}


def test_calls_longer_than_the_last_bound_have_no_suggestion() -> None:
    mesh = Mesh().calls(1000).took({1000: 900, math.inf: 1000})
    (forecast,) = mesh.forecasts(indexed([entry()]))
    assert forecast.sentences[1:] == (
        (
            "0 % to 10 % of the calls take longer than 2s: each would be ended and repeated; "
            "no bound of the histogram keeps 99.9 % of them"
        ),
        (
            "0 % to 10 % of the calls take longer than 30s: each would end with 504; "
            "no bound of the histogram keeps 99.9 % of them"
        ),
    )
    assert policy_for([forecast], guard_policy()) is None


def test_a_longer_try_needs_a_longer_timeout() -> None:
    policy = guard_policy(virtualService={"timeout": "8s"})
    mesh = Mesh().calls(10_000).took({1000: 9000, 5000: 9500, 10_000: 10_000, math.inf: 10_000})
    (forecast,) = mesh.forecasts(indexed([entry()], policy=policy))
    assert forecast.annotations == {
        "serviceentry-guard.io/per-try-timeout": "10s",
        "serviceentry-guard.io/timeout": "10s",
    }


def test_a_try_as_long_as_the_timeout_raises_it_though_no_call_is_longer() -> None:
    policy = guard_policy(virtualService={"timeout": "5s"})
    mesh = Mesh().calls(1000).took({1000: 100, 5000: 1000, math.inf: 1000})
    (forecast,) = mesh.forecasts(indexed([entry()], policy=policy))
    assert [cut.keeps and str(cut.keeps) for cut in forecast.cuts] == ["5s", None]


def test_streams_are_not_cut_and_bounds_below_a_second_are_spelled_in_milliseconds() -> None:
    assert Mesh().calls(1000).took(SLOW).says(entry(ports=[GRPC])) == ()
    policy = guard_policy(virtualService={"retries": {"perTryTimeout": "100ms"}})
    mesh = Mesh().calls(1000).took({100: 10, 250: 1000, math.inf: 1000})
    (forecast,) = mesh.forecasts(indexed([entry()], policy=policy))
    assert forecast.annotations == {"serviceentry-guard.io/per-try-timeout": "250ms"}


def test_without_retries_no_try_is_ended() -> None:
    policy = guard_policy(virtualService={"retries": {"attempts": 0}})
    assert Mesh().calls(1000, TERMINATED=31).took(SLOW).says(policy=policy) == (
        "3.1 % of 1,000 calls ended with connection termination (UC): the policy makes no retries",
    )


def test_the_longest_value_of_an_entry_and_of_a_namespace_counts() -> None:
    hosts = ["a.example.com", "b.example.com"]
    mesh = Mesh(*hosts).calls(1000, host=hosts[0]).took(SLOW, host=hosts[0])
    mesh.calls(1000, host=hosts[1]).took({1000: 10, 20_000: 1000, math.inf: 1000}, host=hosts[1])
    forecasts = by_change(mesh.forecasts(indexed([entry(hosts=hosts, ports=[HTTP])])))
    assert [one.host for one in forecasts] == ["b.example.com", "a.example.com"]
    (manifest,) = annotations(forecasts)
    assert manifest["metadata"]["annotations"] == {"serviceentry-guard.io/per-try-timeout": "20s"}


def test_a_suggested_policy_keeps_the_settings_of_a_namespace() -> None:
    policy = guard_policy(
        dns={"maxQueriesPerSecond": 5},
        namespaces=[{"match": ["te*"], "virtualService": {"retries": {"attempts": 2}}}],
    )
    forecasts = Mesh().calls(1000).took(SLOW).forecasts(indexed([entry()], policy=policy))
    suggested = policy_for(forecasts, policy)
    assert suggested
    first, second = suggested["namespaces"]
    assert first == {"match": ["team"], "virtualService": {"retries": {"attempts": 2, "perTryTimeout": "10s"}}}
    assert second == {"match": ["te*"], "virtualService": {"retries": {"attempts": 2}}}
    assert suggested["dns"] == {"maxQueriesPerSecond": 5}
    assert parse_policy(suggested).dns.max_queries_per_second == 5


def test_connections_without_calls_say_that_nothing_can_be_retried() -> None:
    mesh = Mesh()
    for name, number in (("shop", 30), ("team", 10)):
        figures = mesh.traffic.at(HOST, name)
        assert figures
        figures.connections = number
    (forecast,) = mesh.forecasts(indexed([entry()]))
    assert not forecast.quiet
    assert forecast.sentences == (
        (
            "40 connections in 7 days, from shop 75 %, team 25 %: "
            "the sidecars see no HTTP in them, so nothing can be retried"
        ),
    )


def test_a_host_that_nothing_calls_says_so() -> None:
    (forecast,) = Mesh().forecasts(indexed([entry()]))
    assert forecast.quiet
    assert forecast.sentences == ("no traffic in 7 days",)
