"""The backstop agrees with the core: same entries, same policies, on a real API server."""

from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from app.core.cel.admission_policy import Engine, backstop
from app.core.policy.model import GuardPolicy, Mode, Settings
from app.core.policy.reader import as_document
from app.core.resources.service_entry import ServiceEntry
from app.core.rules.findings import quoted
from app.core.rules.patch import apply_patch
from app.core.rules.verdict import Verdict, review
from app.kube.client import Client
from tests.bed.control_plane import ControlPlane
from tests.cases import CASES, TODAY, Case
from tests.depth import examples
from tests.e2e.backstops import (
    Asker,
    Reply,
    confined,
    engines,
    guard_policy,
    in_force,
    make_namespace,
    require_engine,
)
from tests.e2e.definitions import require_words, words_of
from tests.strategies import manifests

pytestmark = pytest.mark.e2e

PLAIN = "no-backstop"
STORABLE = [case for case in CASES if case.storable and not case.beside]
KELVIN = "\u212aelvin.example.com"
"""A host of tests/strategies.py that is not ASCII."""
LONG = ".".join(["a" * 63, "b" * 63, "c" * 63])
HOSTS = (
    *("a.b", "A.B", "a.b.", "a.b..", "a..b", ".a.b", ".", "a", "a.", "a-b.c", "-a.b", "a-.b", "a_b.c", "a b.c"),
    *("a.9", "a.90", "a.9.", "a.9b", "a.b9", "9.a", "192.0.2.9", f"{'a' * 63}.b", f"{'a' * 64}.b", "a.*", "a.b*"),
    *(f"{LONG}.{'d' * 61}", f"{LONG}.{'d' * 61}.", f"{LONG}.{'d' * 62}", f"{LONG}.{'d' * 62}."),
    *(
        "*.a",
        "*.a.b",
        "*.A.",
        "*.",
        "*..a",
        "*a",
        "*A.b",
        "*-a",
        "*-a.b",
        "*-.a",
        "*--a.b",
        "*a-.b",
        "*-",
        "**.a",
        "*.*",
    ),
    *("*.9", "*9", "*-9", "*-9.", "*.a.9", "*9.a", "*-9.a", "*.a9", f"*.{LONG}.{'d' * 59}", f"*.{LONG}.{'d' * 60}"),
    *(f"*{'a' * 63}.b", f"*{'a' * 64}.b", f"*-{'a' * 63}.b", f"*-{'a' * 64}.b"),
)
PAYMENTS = {"match": ["api.example.com", "*.payments.example", "*.svc.cluster.local"], "namespaces": ["asked-native-*"]}
ALL = {"match": ["*"], "namespaces": ["*"]}
POLICIES: tuple[dict[str, Any], ...] = (
    {},
    {"mode": "Warn"},
    {"mode": "Off"},
    {"resolution": {"unfixable": "Warn", "wildcards": "Allow", "static": "Deny"}},
    {"resolution": {"wildcards": "DynamicDNS"}, "scope": {"locations": ["MESH_EXTERNAL", "MESH_INTERNAL"]}},
    {"scope": {"locations": ["MESH_INTERNAL"]}, "resolution": {"wildcards": "DynamicDNS"}},
    {"exemptions": {"annotation": "Allow", "hosts": ["*.example.com", "?.*", "*.[a-m]*", "*[!x].example.com"]}},
    {
        "exemptions": {
            "hosts": ["[]x]*", "[!]*", "a[z-a]b", "*[!a-z]*.c", "[^.\\\\]*", "{x}", "[a-c-]*", "b.*.com", '"']
        }
    },
    {
        "virtualService": {
            "overrides": {
                "attempts": {"min": 4},
                "perTryTimeout": {"min": "3s"},
                "timeout": None,
                "retryOn": ["reset", "connect-failure"],
                "virtualService": "Forbid",
            }
        }
    },
    {
        "mode": "Warn",
        "resolution": {"wildcards": "DynamicDNS", "static": "Deny"},
        "namespaces": [
            {"match": ["nobody"], "mode": "Off"},
            {"match": ["*-v?[k-m]idating-9"], "mode": "Enforce", "virtualService": {"overrides": {"attempts": None}}},
            {"match": ["asked*"], "mode": "Enforce", "resolution": {"static": "Warn"}},
        ],
    },
    {
        "mode": "Warn",
        "resolution": {"wildcards": "DynamicDNS", "static": "Deny"},
        "virtualService": {"overrides": {"attempts": None, "retryOn": None, "perTryTimeout": None}},
    },
    {"scope": {"excludedNamespaces": ["asked-native-*"]}, "exemptions": {"namespaces": ["*validating*"]}},
    {
        "exemptions": {
            "annotation": "Allow",
            "requireExpiry": True,
            "maxDuration": "90d",
            "minReasonLength": 3,
            "reasonPattern": r"^(?:[A-Z]{2,}-\d+|because$|[^b]+$)",
        }
    },
    {
        "exemptions": {
            "annotation": "Allow",
            "minReasonLength": 9,
            "temporary": [
                {"hosts": ["*.example.com"], "until": TODAY},
                {"hosts": ["b.*", "*.svc"], "namespaces": ["*validating*"], "until": "2999-01-01"},
                {"until": "2026-06-29"},
            ],
        }
    },
    {
        "scope": {"locations": ["MESH_EXTERNAL"]},
        "exemptions": {"annotation": "Allow"},
        "hosts": {"owners": [PAYMENTS, {"match": ["*.example"], "namespaces": ["nobody"]}, ALL]},
        "exportTo": {"require": "Namespace"},
    },
    {
        "mode": "Warn",
        "hosts": {"owners": [{"match": ["b.example.com", "*.local"], "namespaces": ["platform", "istio-*"]}]},
        "exportTo": {"require": "Namespace"},
    },
    {
        "hosts": {"owners": [{"match": ["*.com"], "namespaces": ["*native*"]}]},
        "exportTo": {"require": "Warn"},
        "namespaces": [
            {"match": ["asked-native*"], "hosts": {"owners": [PAYMENTS]}, "exportTo": {"require": "Namespace"}},
            {"match": ["asked-x*"], "hosts": {"owners": []}},
            {"match": ["asked*"], "exemptions": {"annotation": "Allow", "minReasonLength": 1}},
        ],
    },
    {"resolution": {"tcp": "DNS", "static": "Deny"}},
    {
        "resolution": {"wildcards": "DynamicDNS", "tcp": "DNS"},
        "virtualService": {"overrides": {"timeout": {"noDeadline": "Allow"}}},
        "namespaces": [
            {"match": ["*validating*"], "resolution": {"wildcards": "Deny"}},
            {"match": ["nobody"], "virtualService": {"overrides": {"timeout": {"noDeadline": "Forbid"}}}},
        ],
    },
)
BY_HOST = 4
"""With DynamicDNS, names, wildcards and the rest each become something else, if a port names its host."""
BY_HOST_AND_TCP = len(POLICIES) - 1
"""The same, with ports that name no host as well."""
HTTP = {"number": 80, "name": "http", "protocol": "HTTP"}
TCP = {"number": 22, "name": "tcp", "protocol": "TCP"}


def namespace(engine: Engine, what: str | int) -> str:
    """Where entries are judged by a policy alone, or by that of a case."""
    return f"asked-{engine.value}-{what}"


@cache  # 0.2 s each time, and every case asks for it
def of_all_cases(engine: Engine) -> GuardPolicy:
    """One policy in which the namespace of each case has the settings of that case."""
    layers = []
    for case in STORABLE:
        name = namespace(engine, case.name)
        own = case.in_force().settings(name)
        layers.append({"match": [name], **as_document(own, Settings)})
    return guard_policy({"namespaces": layers})


@pytest.fixture(autouse=True)
def _engine_is_there(request: pytest.FixtureRequest, control_plane: ControlPlane) -> None:
    if engine := request.node.callspec.params.get("engine"):
        require_engine(control_plane, engine)


@pytest.fixture(scope="module")
def asker(control_plane: ControlPlane, api: Client) -> Iterator[Asker]:
    """A connection to the API server, while the backstops of all policies of this module are in force."""
    asker = Asker(control_plane)
    objects = list[Any]()
    make_namespace(api, PLAIN, PLAIN)
    for engine in engines(control_plane):
        objects += confined(backstop(of_all_cases(engine), engine), f"{engine.value}-cases")
        for case in STORABLE:
            make_namespace(api, namespace(engine, case.name), f"{engine.value}-cases")
        for number, document in enumerate(POLICIES):
            objects += confined(backstop(guard_policy(document), engine), f"{engine.value}-{number}")
            make_namespace(api, namespace(engine, number), f"{engine.value}-{number}")
    with in_force(control_plane, api, objects, asker):
        yield asker
    asker.close()


def judged(manifest: Any, where: str, policy: GuardPolicy) -> Verdict:
    """The core's verdict on a manifest in a namespace."""
    placed = {**manifest, "metadata": {**manifest["metadata"], "namespace": where}}
    return review(ServiceEntry.parse(placed, written=policy.today), policy)


def assert_agrees(reply: Reply, verdict: Verdict, manifest: Any, engine: Engine) -> None:
    """Hold the API server's answer against the verdict."""
    if verdict.allowed:
        assert reply.status == 201, reply.body
        patch = verdict.patch if engine is Engine.NATIVE else ()
        assert reply.body["spec"] == {**apply_patch(manifest, patch)["spec"]}
    else:
        assert reply.denial == " ".join(verdict.denial.splitlines()).replace(quoted(KELVIN), '"?"'), reply.body


def expected_warning(manifest: Any, where: str, policy: GuardPolicy, engine: Engine) -> str:
    """What the backstop warns of under mode Warn: of what Enforce would refuse, and change where no webhook says it."""
    enforced = replace(policy.settings(where), mode=Mode.ENFORCE)
    strict = judged(manifest, where, guard_policy(as_document(enforced, Settings)))
    would = {finding.code for finding in strict.errors} | ({"SEG003"} if engine is Engine.NATIVE else set())
    findings = judged(manifest, where, policy).findings
    return " ".join(one.sentence for one in findings if one.code in would).replace(quoted(KELVIN), '"?"')


@pytest.mark.parametrize("engine", Engine)
@pytest.mark.parametrize("case", STORABLE, ids=lambda case: case.name)
def test_a_case_file_is_judged_as_it_says(
    case: Case, engine: Engine, asker: Asker, control_plane: ControlPlane
) -> None:
    require_words(control_plane, words_of(case))
    where = namespace(engine, case.name)
    reply = asker.create(case.manifest(), where)
    if case.outcome == "refused":
        errors = [finding.removeprefix("error ") for finding in case.findings if finding.startswith("error ")]
        assert all(f"{error}: " in reply.denial for error in errors)
    else:
        assert reply.status == 201
        changed = case.resolution if engine is Engine.NATIVE else None
        assert reply.resolution == (changed or case.spec.get("resolution"))
    assert_agrees(reply, judged(case.manifest(), where, of_all_cases(engine)), case.manifest(), engine)


@pytest.mark.parametrize("engine", Engine)
@pytest.mark.parametrize("ports", [[HTTP], [], [TCP]], ids=["http", "none", "tcp"])
@pytest.mark.parametrize("number", [BY_HOST, BY_HOST_AND_TCP])
def test_the_backstop_agrees_with_the_core_on_every_kind_of_host(
    engine: Engine, ports: list[Any], number: int, asker: Asker
) -> None:
    where, policy = namespace(engine, number), guard_policy(POLICIES[number])
    for host in HOSTS:
        manifest = {
            "metadata": {"name": "host"},
            "spec": {"hosts": [host], "ports": ports, "location": "MESH_EXTERNAL"},
        }
        given = {"apiVersion": "networking.istio.io/v1", "kind": "ServiceEntry", **manifest}
        assert_agrees(asker.create(given, where), judged(given, where, policy), given, engine)


@pytest.mark.parametrize("engine", Engine)
@given(manifest=manifests(), number=st.sampled_from(range(len(POLICIES))))
@settings(max_examples=examples(300))
def test_any_entry_is_judged_as_the_core_judges_it(engine: Engine, asker: Asker, manifest: Any, number: int) -> None:
    assume("\\ud800" not in ascii(manifest))  # JSON cannot carry half a character to the API server
    where, policy = namespace(engine, number), guard_policy(POLICIES[number])
    reply = asker.create(manifest, where)
    if reply.status == 422:
        assert asker.create(manifest, PLAIN).status == 422  # Istio's own schema refuses it
        return
    verdict = judged(manifest, where, policy)
    assert_agrees(reply, verdict, manifest, engine)
    if policy.settings(where).mode is Mode.WARN:
        assert " ".join(reply.warnings) == expected_warning(manifest, where, policy, engine)
    else:
        assert reply.warnings == ()
    if verdict.patch and engine is Engine.NATIVE:
        again = asker.create({**manifest, "spec": reply.body["spec"]}, where)
        assert again.body["spec"] == reply.body["spec"]
