"""The backstop beyond what the core says of one new entry: updates, versions, large entries, and where they differ."""

import json
from collections.abc import Iterator
from contextlib import ExitStack, closing
from typing import Any

import pytest

from app.core.cel.admission_policy import UNSAID, Engine, backstop
from app.core.resources.service_entry import ServiceEntry
from app.core.routes.survey import Sourced, survey
from app.core.rules.kept_resolutions import Stays
from app.core.rules.verdict import review, review_update
from app.kube.client import Client
from app.kube.errors import Forbidden
from tests.bed.binaries import provide
from tests.bed.control_plane import ControlPlane
from tests.bed.processes import wait_until
from tests.e2e.backstops import Asker, confined, engines, entry, guard_policy, in_force, make_namespace
from tests.e2e.team import SECONDS, SERVICE_ENTRIES

pytestmark = pytest.mark.e2e

NATIVE, VALIDATING, EXEMPTING = "limits-native", "limits-validating", "limits-exempting"
LATE, KEEPING = "limits-late", "limits-keeping"
GRANTING, LAYERED = "limits-granting", "limits-layer-299"
GRANTED = [f"condition-of-a-remarkable-length-{number}" for number in range(200)]
LAYERS = [
    {
        "match": [f"limits-layer-{number}"],
        "resolution": {"static": ["Warn", "Deny"][number % 2]},
        "exemptions": {"hosts": [f"*.team-{number}.example"]},
        "virtualService": {"overrides": {"attempts": {"max": number % 100}, "timeout": {"max": f"{number + 1}s"}}},
    }
    for number in range(300)
]
STAYS = {(KEEPING, "api.example.com"): (Stays("ssh", "NONE", "port 22 (TCP)"),)}
ALLOWING = {"exemptions": {"annotation": "Allow"}}
CIDR: dict[str, Any] = {"resolution": "NONE", "addresses": ["10.0.0.0/8"]}
DEFINITION = "customresourcedefinition/serviceentries.networking.istio.io"
HOSTS_OF = "/spec/versions/{}/schema/openAPIV3Schema/properties/spec/properties/hosts"


@pytest.fixture(scope="module")
def asker(control_plane: ControlPlane, api: Client) -> Iterator[Asker]:
    """A connection to the API server, while teams may exempt their entries in namespaces of either engine."""
    asker = Asker(control_plane)
    exempting = guard_policy({"exemptions": {"hosts": ["*.\u00e9.example"]}})
    granting = guard_policy({"virtualService": {"overrides": {"retryOn": GRANTED}}})
    native = [
        *confined(backstop(guard_policy(ALLOWING), Engine.NATIVE), NATIVE),
        *confined(backstop(guard_policy({}), Engine.NATIVE, STAYS), KEEPING),
    ]
    objects = [
        *(native if Engine.NATIVE in engines(control_plane) else ()),
        *confined(backstop(guard_policy(ALLOWING), Engine.VALIDATING), VALIDATING),
        *confined(backstop(guard_policy(ALLOWING).on("2026-06-01"), Engine.VALIDATING), LATE),
        *confined(backstop(exempting, Engine.VALIDATING), EXEMPTING),
        *confined(backstop(granting, Engine.VALIDATING), GRANTING),
        *confined(backstop(guard_policy({"namespaces": LAYERS}), Engine.VALIDATING), LAYERED),
    ]
    for name in (NATIVE, VALIDATING, EXEMPTING, GRANTING, LAYERED, LATE, KEEPING):
        make_namespace(api, name, name)
    with in_force(control_plane, api, objects, asker):
        yield asker
    asker.close()


def store_behind(api: Client, control_plane: ControlPlane, name: str, manifest: Any) -> Any:
    """Store an entry before the guard is there: its namespace is labelled for the backstop afterwards."""
    make_namespace(api, name, "none-yet")
    stored = api.create(SERVICE_ENTRIES, {**manifest, "metadata": {**manifest["metadata"], "namespace": name}})
    control_plane.kubectl("label", "--overwrite", "namespace", name, f"backstop={NATIVE}")
    return stored


def changed(manifest: Any, **metadata: Any) -> Any:
    return {**manifest, "metadata": {**manifest["metadata"], **metadata}}


@pytest.mark.usefixtures("native")
def test_an_update_is_judged_only_if_it_touches_spec_or_our_annotations(
    asker: Asker, api: Client, control_plane: ControlPlane
) -> None:
    ours, others = "serviceentry-guard.io/exempt", "other.example/x"
    given = entry(**CIDR, annotations={ours: "", others: "1"})
    stored = store_behind(api, control_plane, "limits-updates", given)
    wait_until(lambda: asker.create(entry(**CIDR), "limits-updates").denial != "", "it is judged", SECONDS)
    untouched = (
        changed(stored, labels={"a": "b"}),
        changed(stored, finalizers=["x.example/y"]),
        changed(stored, annotations={ours: "", others: "2"}),
        changed(stored, annotations={ours: ""}),
    )
    touched = (
        changed(stored, annotations={others: "1"}),
        changed(stored, annotations=None),
        changed(stored, annotations={ours: "", others: "1", "serviceentry-guard.io/timeout": "3s"}),
        changed(stored, annotations={ours: " ", others: "1"}),
        {**stored, "spec": {**stored["spec"], "exportTo": ["."]}},
    )
    for update in untouched:
        assert asker.update(update).status == 200
        assert review_update(ServiceEntry.parse(update), stored, update, guard_policy({})).allowed
    for update in touched:
        assert asker.update(update).denial.startswith("SEG006 ")
        assert not review_update(ServiceEntry.parse(update), stored, update, guard_policy({})).allowed
    exempted = changed(stored, annotations={ours: "the vendor pins its addresses"})
    assert asker.update(exempted).status == 200


@pytest.mark.usefixtures("native")
def test_a_finalizer_is_removed_from_an_entry_that_could_not_be_created(
    asker: Asker, api: Client, control_plane: ControlPlane
) -> None:
    given = changed(entry(**CIDR), finalizers=["x.example/y"])
    stored = store_behind(api, control_plane, "limits-finalizers", given)
    wait_until(lambda: asker.create(entry(**CIDR), "limits-finalizers").denial != "", "it is judged", SECONDS)
    api.delete(SERVICE_ENTRIES, "limits-finalizers", "api")
    terminating = api.get(SERVICE_ENTRIES, "limits-finalizers", "api")
    with pytest.raises(Forbidden, match="SEG006"):
        api.replace(SERVICE_ENTRIES, {**terminating, "spec": {**stored["spec"], "exportTo": ["."]}})
    api.replace(SERVICE_ENTRIES, changed(terminating, finalizers=None))
    assert not api.list_page(SERVICE_ENTRIES, "limits-finalizers").items


@pytest.mark.usefixtures("native")
@pytest.mark.parametrize("version", ["v1", "v1beta1", "v1alpha3"])
def test_every_version_of_a_service_entry_is_judged(version: str, asker: Asker) -> None:
    assert asker.create(entry(), NATIVE, version).resolution == "DNS"
    assert asker.create(entry(**CIDR), VALIDATING, version).denial.startswith("SEG006 ")


@pytest.mark.usefixtures("native")
def test_an_entry_as_large_as_the_schema_allows_is_judged(asker: Asker) -> None:
    label = "a" * 63
    hosts = [f"{number:03}.{label}.{label}.{label}.{'b' * 55}.x" for number in range(255)]
    ports = [{"number": number, "name": f"p{number}", "protocol": "HTTP"} for number in range(1, 101)]
    annotations = {f"other.example/{number}": "x" * 20 for number in range(4000)}
    large: dict[str, Any] = {"hosts": hosts, "ports": ports, "annotations": annotations, "resolution": "NONE"}
    assert max(map(len, hosts)) == 253
    assert asker.create(entry(**large), NATIVE).resolution == "DNS"
    unfixable = {**large, "hosts": [*hosts, "x"], "addresses": [f"10.0.0.0/{number % 32}" for number in range(256)]}
    denial = asker.create(entry(**unfixable), VALIDATING).denial
    assert 'SEG009 spec.hosts[255]: "x"' in denial
    assert "SEG006 spec.addresses[0]: " in denial
    assert "(and 255 more)" in denial


def test_a_compliant_entry_is_stored_whatever_it_would_cost_to_judge_it() -> None:
    """Older Istio bounds no list. What costs more than the API server spends is refused only if it is not compliant."""
    with ExitStack() as stack:
        unbounded = stack.enter_context(ControlPlane(provide()))
        old_schema(unbounded)
        client = stack.enter_context(closing(Client.from_kubeconfig(str(unbounded.kubeconfig))))
        asker = stack.enter_context(closing(Asker(unbounded)))
        make_namespace(client, VALIDATING, VALIDATING)
        objects = confined(backstop(guard_policy({}), Engine.VALIDATING), VALIDATING)
        with in_force(unbounded, client, objects, asker):
            many = [f"{number}.{'a' * 60}.{'b' * 60}.{'c' * 60}.example.com" for number in range(5000)]
            for resolution in ("DNS", "DNS_ROUND_ROBIN"):
                assert asker.create(entry(hosts=many, resolution=resolution), VALIDATING).status == 201
            annotated = entry(hosts=many, resolution="DNS", annotations={"serviceentry-guard.io/attempts": "99"})
            assert asker.create(annotated, VALIDATING).denial.startswith("SEG013 ")
            short = [f"{number}.example.com" for number in range(5000)]
            assert asker.create(entry(hosts=short), VALIDATING).status == 201
            assert 'SEG009 spec.hosts[5000]: "x"' in asker.create(entry(hosts=[*short, "x"]), VALIDATING).denial
            costly = asker.create(entry(hosts=many), VALIDATING)
            assert costly.status == 422
            assert "cost" in costly.body["message"]


def old_schema(control_plane: ControlPlane) -> None:
    """Take the bounds out of the schema of hosts, and the rules that could not be afforded without them.

    Nothing is to be done where Istio's definitions are as old as that.
    """
    patch = [
        {"op": "remove", "path": HOSTS_OF.format(version) + field}
        for version in range(3)
        for field in ("/maxItems", "/items/x-kubernetes-validations")
    ]
    if "maxItems" in control_plane.kubectl("get", DEFINITION, "--output=json").stdout:
        control_plane.kubectl("patch", DEFINITION, "--type=json", f"--patch={json.dumps(patch)}")


def test_hundreds_of_namespaces_may_have_settings_of_their_own(asker: Asker) -> None:
    given = entry("a.team-299.example", resolution="NONE")
    assert asker.create(given, LAYERED).status == 201
    annotations = {"serviceentry-guard.io/attempts": "100", "serviceentry-guard.io/timeout": "6m"}
    told = asker.create(
        entry(annotations=annotations, endpoints=[{"address": "192.0.2.1"}], resolution="STATIC"), LAYERED
    )
    assert "SEG011 spec.resolution: " in told.denial
    assert '"100" is outside 0 to 99, the bounds of the policy' in told.denial
    assert '"6m" is outside 10ms to 300s, the bounds of the policy' in told.denial


def test_the_api_server_rejects_an_admission_policy_with_too_long_expressions(control_plane: ControlPlane) -> None:
    """Limit: an expression has at most 100,000 characters."""
    hosts = [f"*.team-{number}.example" for number in range(4000)]
    objects = backstop(guard_policy({"exemptions": {"hosts": hosts}}), Engine.VALIDATING)
    manifest = json.dumps(objects[0])
    refused = control_plane.kubectl("create", "--dry-run=server", "--filename=-", stdin=manifest, check=False)
    assert refused.returncode
    assert "expression code point size exceeds limit" in refused.stderr


def test_a_message_that_is_too_long_points_to_review(asker: Asker) -> None:
    """Difference: the API server takes no more than 5 KiB from an expression."""
    words = entry(annotations={"serviceentry-guard.io/retry-on": "5xx"}, resolution="DNS")
    assert asker.create(words, GRANTING).denial == UNSAID


@pytest.mark.usefixtures("native")
def test_the_schema_rejects_a_malformed_entry_before_the_backstop(asker: Asker) -> None:
    """Difference: SEG001 is never told, and under mode Warn such an entry is refused too (as with the webhook)."""
    for spec in ({"resolution": "none"}, {"hosts": "api.example.com"}, {"location": 5}, {"ports": [{"number": "80"}]}):
        given = entry(**spec)
        assert review(ServiceEntry.parse(given), guard_policy({})).codes == ("SEG001",)
        for where in (NATIVE, VALIDATING):
            reply = asker.create(given, where)
            assert (reply.status, reply.denial) == (422, "") or reply.status == 400
    assert asker.create(entry(resolution=None, workloadSelector=None, location=None), NATIVE).resolution == "DNS"


def test_a_text_that_is_not_printable_ascii_is_not_repeated(asker: Asker) -> None:
    """Difference: the core replaces only what cannot be printed, and CEL cannot do so character by character."""
    for host in ("caf\u00e9", "two\nlines", "tab\there"):
        assert asker.create(entry(host), VALIDATING).denial.startswith('SEG009 spec.hosts[0]: "?" is not a fully')
    long = asker.create(entry("x" * 61), VALIDATING)
    assert long.denial.startswith(f'SEG009 spec.hosts[0]: "{"x" * 60}…" is not a fully')


def test_letters_beyond_ascii_are_not_folded_for_the_globs_of_exempt_hosts(asker: Asker) -> None:
    """Difference: the core takes the host for an exempt one. No such host can be resolved."""
    exempting = guard_policy({"exemptions": {"hosts": ["*.\u00e9.example"]}})
    lower, upper = entry("a.\u00e9.example"), entry("a.\u00c9.example")
    assert review(ServiceEntry.parse(lower), exempting).codes == ("SEG002",)
    assert review(ServiceEntry.parse(upper), exempting).codes == ("SEG002",)
    assert asker.create(lower, EXEMPTING).status == 201
    assert asker.create(upper, EXEMPTING).denial.startswith("SEG009 ")


def test_separators_of_ascii_are_not_taken_for_blanks(asker: Asker) -> None:
    """Difference: Python strips U+001C to U+001F from words and reasons, CEL does not."""
    words = entry(annotations={"serviceentry-guard.io/retry-on": "5xx,\x1creset"}, resolution="DNS")
    assert review(ServiceEntry.parse(words), guard_policy({})).allowed
    assert asker.create(words, VALIDATING).denial.startswith("SEG013 ")
    reason = entry(**CIDR, annotations={"serviceentry-guard.io/exempt": "\x1f" * 8})
    assert not review(ServiceEntry.parse(reason), guard_policy(ALLOWING)).allowed
    assert asker.create(reason, VALIDATING).status == 201


def test_the_day_is_that_on_which_the_objects_were_written(asker: Asker) -> None:
    """Difference: CEL has no clock. The controller writes the objects anew when another day begins."""
    until = {"serviceentry-guard.io/exempt-until": "2026-06-15"}
    ended = entry(**CIDR, annotations={"serviceentry-guard.io/exempt": "the vendor pins its addresses", **until})
    in_force = guard_policy(ALLOWING)
    assert not review(ServiceEntry.parse(ended, written=in_force.today), in_force).allowed
    assert asker.create(ended, VALIDATING).denial.startswith("SEG006 ")
    assert asker.create(ended, LATE).status == 201


@pytest.mark.usefixtures("native")
def test_beside_an_entry_that_keeps_its_resolution_none_is_changed_nor_in_the_way_of_being_put_back(
    asker: Asker, api: Client
) -> None:
    """Difference: SEG040 is not said, since an expression sees one object; `native` leaves such an entry as it is."""
    ssh = entry(ports=[{"number": 22, "name": "ssh", "protocol": "TCP"}], resolution="NONE")
    both = [Sourced("cluster", changed(one, namespace="x", name=str(one["spec"]["ports"]))) for one in (ssh, entry())]
    assert [one.verdict.codes for one in survey(both, guard_policy({}))] == [("SEG016",), ("SEG040",)]
    for where in (VALIDATING, KEEPING):
        assert asker.create(entry(resolution="NONE"), where).resolution == "NONE"
        stored = api.create(SERVICE_ENTRIES, changed(entry(resolution="DNS"), namespace=where, name="web"))
        put_back = asker.update({**stored, "spec": {**stored["spec"], "resolution": "NONE"}})
        assert (put_back.status, put_back.resolution) == (200, "NONE")
    itself = {**entry(), "metadata": {"name": "ssh"}}
    for given in (entry("other.example.com"), entry(hosts=["API.example.com.", "b.example.com"]), itself):
        named = given is not itself and given["spec"]["hosts"][0].startswith("API")
        assert asker.create(given, KEEPING).resolution == (None if named else "DNS")
    assert asker.create(entry(**CIDR), KEEPING).denial.startswith("SEG006 ")


@pytest.mark.usefixtures("native")
def test_no_warnings_are_given_under_mode_enforce(asker: Asker) -> None:
    """Difference: under Enforce the warnings are the webhook's."""
    for given in (
        entry(resolution="DNS_ROUND_ROBIN"),
        entry(resolution="STATIC", endpoints=[{"address": "192.0.2.1"}]),
    ):
        assert review(ServiceEntry.parse(given), guard_policy({})).warnings
        for where in (NATIVE, VALIDATING):
            reply = asker.create(given, where)
            assert (reply.status, reply.warnings) == (201, ())
