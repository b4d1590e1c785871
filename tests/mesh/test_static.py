"""Istio's own validation on what the guard writes and changes, offline and in bulk."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.policy.model import GuardPolicy, default_policy
from app.core.routes.survey import Reviewed, Sourced, survey
from app.kube.client import Object
from tests.bed.binaries import provide_mesh
from tests.bed.errors import BedError
from tests.bed.require import give_up
from tests.depth import examples
from tests.mesh.cases import reviewed_cases
from tests.mesh.istioctl import Istioctl
from tests.strategies import manifests, names, policies

pytestmark = pytest.mark.mesh

GENERATED = examples(500)
Pair = tuple[dict[str, Any], GuardPolicy]
NAMING_NO_HOST = {"TCP", "MONGO", ""}


@pytest.fixture(scope="module")
def istioctl(pytestconfig: pytest.Config) -> Istioctl:
    """Istio's command line, built first where that was not done yet."""
    capture = pytestconfig.pluginmanager.getplugin("capturemanager")
    try:
        with capture.global_and_fixture_disabled():
            return Istioctl(provide_mesh().istioctl)
    except BedError as error:
        give_up(str(error))


@pytest.fixture(scope="module")
def reviewed() -> list[Reviewed]:
    """The verdict on every entry of the case files, and on twice GENERATED others."""
    any_pairs = st.tuples(manifests(), policies())
    raw_pairs = st.tuples(raw_manifests(), st.just(default_policy()))
    generated = [*drawn(any_pairs), *drawn(raw_pairs)]
    assert len(generated) >= 2 * GENERATED
    verdicts = [one for manifest, policy in generated for one in survey([Sourced("generated", manifest)], policy)]
    return [*reviewed_cases(), *verdicts]


def drawn(pairs: st.SearchStrategy[Pair]) -> list[Pair]:
    """GENERATED of these."""
    generated = list[Pair]()

    @settings(max_examples=GENERATED, derandomize=True, database=None)
    @given(pairs)
    def generate(pair: Pair) -> None:
        generated.append(pair)

    generate()
    return generated


def raw_manifests() -> st.SearchStrategy[dict[str, Any]]:
    """Entries of the sort that the guard changes: external, each port naming its host, no endpoints, NONE."""
    return manifests(names).map(_raw).filter(lambda manifest: bool(manifest["spec"]["ports"]))


def _raw(manifest: dict[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in manifest["spec"].items() if name in {"hosts", "exportTo"}}
    ports = [port for port in manifest["spec"]["ports"] if port["protocol"] not in NAMING_NO_HOST]
    return {**manifest, "spec": {**kept, "ports": ports, "resolution": "NONE"}}


def named(manifest: Object, name: str) -> Object:
    """The manifest under another name, without what istiod does not look at."""
    metadata = {"name": name, "namespace": manifest["metadata"]["namespace"]}
    return {**{key: manifest[key] for key in ("apiVersion", "kind", "spec")}, "metadata": metadata}


def test_istioctl_refuses_what_istiod_refuses_and_names_it(istioctl: Istioctl) -> None:
    spec = {"hosts": ["*.example.com"], "ports": [{"number": 80, "name": "p", "protocol": "HTTP"}], "resolution": "DNS"}
    manifest = {"apiVersion": "networking.istio.io/v1", "kind": "ServiceEntry", "metadata": {"namespace": "team"}}
    wrong, right = ({**manifest, "spec": {**spec, "hosts": [host]}} for host in ("*.example.com", "a.example.com"))
    refused = istioctl.refused([named(wrong, "wrong"), named(right, "right")])
    assert refused.keys() == {"wrong"}


def test_all_that_is_emitted_for_what_istiod_accepts_it_accepts_too(
    istioctl: Istioctl, reviewed: list[Reviewed]
) -> None:
    emitting = {f"entry-{number}": one for number, one in enumerate(reviewed) if one.emitted}
    entries = {name: one.stored for name, one in emitting.items()}
    emitted = {
        f"{name}-emits-{number}": each.manifest
        for name, one in emitting.items()
        for number, each in enumerate(one.emitted)
    }
    assert len(emitted) > 100
    refused = refusals(istioctl, entries | emitted)
    wrong = {name: reason for name, reason in refused.items() if name.partition("-emits-")[0] not in refused}
    assert {name: (reason, emitted[name]) for name, reason in wrong.items()} == {}


def test_all_that_is_emitted_in_any_case_file_is_valid_to_istio(istioctl: Istioctl) -> None:
    objects = (each.manifest for one in reviewed_cases() for each in one.emitted)
    emitted = {f"emitted-{number}": manifest for number, manifest in enumerate(objects)}
    assert len(emitted) > 40
    assert refusals(istioctl, emitted) == {}


def test_istiod_accepts_each_entry_after_the_patch_that_it_accepted_before(
    istioctl: Istioctl, reviewed: list[Reviewed]
) -> None:
    changed = {f"{number}": one for number, one in enumerate(reviewed) if one.outcome == "changed"}
    before = {f"before-{number}": one.manifest for number, one in changed.items()}
    after = {f"after-{number}": one.stored for number, one in changed.items()}
    refused = refusals(istioctl, before | after)
    assert len(before.keys() - refused.keys()) > 100
    spoiled = {
        name: (refused[f"after-{name}"], one.manifest["spec"])
        for name, one in changed.items()
        if f"before-{name}" not in refused and f"after-{name}" in refused
    }
    assert spoiled == {}


def refusals(istioctl: Istioctl, manifests_: dict[str, Object]) -> dict[str, str]:
    """What istiod refuses of these, by the names that they have here, all in one call."""
    return istioctl.refused(named(manifest, name) for name, manifest in manifests_.items())
