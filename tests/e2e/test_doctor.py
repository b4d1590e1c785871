"""The doctor against a real API server: each trouble that can be made here is made, and it has to know it again."""

import base64
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from app.certificates.probe import Address
from app.core.resources.service_entry import ADMISSION_GROUP
from app.doctor.causes import Cause
from app.doctor.diagnosis import Check, State, exit_code
from app.doctor.doctor import Doctor, Target
from app.kube.client import Client, Object
from app.kube.errors import ApiError
from app.kube.resources import CONFIGURATIONS, MUTATING, VALIDATING, Resource
from tests.bed.binaries import provide
from tests.bed.control_plane import ControlPlane
from tests.bed.guard import COMMAND, HOST
from tests.bed.pki import Authority, KeyPair, create_authority
from tests.bed.ports import free_port
from tests.bed.processes import Child, wait_until
from tests.e2e.backstops import stored_policies
from tests.e2e.installation import SERVICE, SERVICES, Installation
from tests.e2e.stand_in import answering, hanging_up, silent
from tests.e2e.team import SERVICE_ENTRIES

pytestmark = pytest.mark.e2e

SECONDS = 90.0
"""For the API server to learn of a change."""
SLICES = Resource("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice")
NOWHERE = f"{64 * 'x'}.invalid"
"""A name with a label that is too long for DNS: nobody has to be asked for it."""
LOST = "an entry with resolution NONE would be stored unchanged"
SILENT = "an entry with a CIDR address would be stored"


class Patient:
    """An installation, as a chart makes it, with certificates that a test chooses."""

    def __init__(self, installation: Installation, authority: Authority) -> None:
        self.installation = installation
        self.client = installation.client
        self.authority = authority
        self.port = installation.port
        self.called = installation.dns_name

    def doctor(self, client: Client | None = None, **changes: Any) -> Doctor:
        """The doctor, as the administrator has it, who reaches the webhook's port from outside."""
        there = self.installation
        given = {"connect": (HOST, self.port), "probe_namespace": there.team, **changes}
        return Doctor(client or self.client, Target(there.name, there.name, **given))

    def findings(self, client: Client | None = None, **changes: Any) -> list[Check]:
        return list(self.doctor(client, **changes).findings())

    def configure(self, *resources: Resource, bundle: bytes | None = None, **service: Any) -> None:
        """Change caBundle or fields of the Service in configurations; in both where none is named."""
        for resource in resources or CONFIGURATIONS:
            stored = self.client.get(resource, None, self.installation.name)
            there = stored["webhooks"][0]["clientConfig"]
            if bundle is not None:
                there["caBundle"] = base64.b64encode(bundle).decode()
            there["service"] |= service
            self.client.replace(resource, stored)

    def edit(self, resource: Resource, **fields: Any) -> None:
        """Change fields of the webhook in a configuration."""
        stored = self.client.get(resource, None, self.installation.name)
        stored["webhooks"][0] |= fields
        self.client.replace(resource, stored)

    def expect(self, sentence: str, remedy: str = "", code: int = 1, **changes: Any) -> Check:
        """Wait until a finding says so, and until its remedy and the exit code are as they should be."""
        seen: list[Check] = []

        def found() -> bool:
            seen[:] = self.findings(**changes)
            return any(sentence in one.sentence for one in seen) and exit_code(seen) == code

        try:
            wait_until(found, sentence, SECONDS)
        except TimeoutError:
            told = (f"{one.state.value}: {one.sentence}" for one in seen)
            raise AssertionError("\n".join([f"{sentence} (exit code {code}) is not among:", *told])) from None
        finding = next(one for one in seen if sentence in one.sentence)
        assert remedy in finding.remedy
        return finding

    def expect_cause(self, cause: Cause, **changes: Any) -> Check:
        """Wait until the API server's words about the validating webhook are understood to mean this."""
        sentence = f"webhook validate.serviceentry-guard.io: {cause.words}"
        return self.expect(sentence, cause.remedy(self.called), **changes)

    def expect_health(self) -> None:
        """Wait until it is sound."""
        wait_until(lambda: exit_code(self.findings()) == 0, "it is sound", SECONDS)


@pytest.fixture(scope="module")
def authority() -> Authority:
    return create_authority("doctor's patients")


@pytest.fixture
def patient(control_plane: ControlPlane, api: Client, authority: Authority, tmp_path: Path) -> Iterator[Patient]:
    """Configurations and a Service; what listens behind them is the test's to say."""
    installation = Installation(control_plane, api, tmp_path, failure_policies=("Ignore", "Fail"))
    patient = Patient(installation, authority)
    patient.configure(bundle=authority.certificate)
    yield patient
    for resource in CONFIGURATIONS:
        control_plane.kubectl("delete", "--ignore-not-found", resource.plural, installation.name)


def serve(patient: Patient, pair: KeyPair | None = None, *arguments: str) -> Child:
    """The webhook, with a pair that is good unless another is given."""
    pair = pair or patient.authority.serving(patient.called)
    patient.installation.mounted.mkdir()
    (patient.installation.mounted / "tls.crt").write_bytes(pair.certificate)
    (patient.installation.mounted / "tls.key").write_bytes(pair.private_key)
    return patient.installation.webhook(*arguments)


@pytest.fixture
def webhook(patient: Patient) -> Iterator[Child]:
    """A good one, which the API server knows."""
    with serve(patient) as child:
        child.wait_until(lambda: patient.installation.ready, "the webhook is ready")
        patient.expect_health()
        yield child
        child.kill()  # nobody is there to be drained for


def said(findings: list[Check]) -> str:
    return "\n".join(f"{one.state.value} {one.sentence}" for one in findings)


@pytest.mark.usefixtures("webhook")
class TestASoundInstallation:
    def test_is_proved_by_two_dry_runs_and_a_fresh_connection(self, patient: Patient) -> None:
        findings = patient.findings()
        assert {one.state for one in findings} == {State.OK}
        text = said(findings)
        assert "the webhook turns resolution NONE into DNS" in text
        assert "webhook mutate.serviceentry-guard.io rejects what cannot be repaired" in text
        assert f"a new connection to {HOST}:{patient.port} succeeds with the current caBundle" in text
        assert patient.client.list_page(SERVICE_ENTRIES, patient.installation.team).items == []

    def test_is_proved_by_the_command_which_says_what_it_could_not_see(self, patient: Patient) -> None:
        there = patient.installation
        command = [
            *COMMAND, "doctor", f"--kubeconfig={there.control_plane.kubeconfig}", f"--namespace={there.name}",
            f"--webhook-configuration={there.name}", f"--probe-namespace={there.team}",
        ]  # fmt: skip
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
        assert ended.returncode == 0, ended.stdout + ended.stderr
        assert ended.stdout.endswith("The guard works.\n")
        assert f"unknown  cannot connect to {patient.called}:{patient.port} from here" in ended.stdout

    def test_with_mode_warn_is_valid_too(self, patient: Patient, webhook: Child, tmp_path: Path) -> None:
        webhook.kill()
        policy = tmp_path / "policy.yaml"
        policy.write_text("apiVersion: serviceentry-guard.io/v1alpha1\nkind: GuardPolicy\nmode: Warn\n")
        with patient.installation.webhook(f"--policy={policy}") as lenient:
            patient.expect("the guard answers with a warning only", code=0)
            patient.expect("its policy has mode Warn here", code=0)
            lenient.kill()


@pytest.mark.parametrize("in_pod", [True, False])
def test_a_pod_reaches_the_webhook_by_its_cluster_ip_and_needs_no_dns(patient: Patient, in_pod: bool) -> None:
    namespace = patient.installation.name
    patient.client.delete(SERVICES, namespace, SERVICE)
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": SERVICE, "namespace": namespace}}
    created = patient.client.create(SERVICES, {**service, "spec": {"ports": [{"port": 443}]}})
    doctor = patient.doctor(connect=None, in_pod=in_pod)
    doctor._endpoints(namespace, SERVICE)
    called = Address(patient.called, 443)
    expected = Address(created["spec"]["clusterIP"], 443, patient.called) if in_pod else called
    assert doctor._reached(called) == expected


class TestACauseInTheWordsOfTheApiServer:
    """What keeps it from calling the validating webhook, whose failures are not passed over."""

    def test_no_service(self, patient: Patient) -> None:
        patient.client.delete(SERVICES, patient.installation.name, SERVICE)
        patient.expect_cause(Cause.NO_SERVICE)

    def test_nothing_listens(self, patient: Patient) -> None:
        patient.expect_cause(Cause.REFUSED)

    def test_a_host_that_is_not_there(self, patient: Patient) -> None:
        service = patient.client.get(SERVICES, patient.installation.name, SERVICE)
        service["spec"]["externalName"] = NOWHERE
        patient.client.replace(SERVICES, service)
        patient.expect_cause(Cause.UNRESOLVED)

    @pytest.mark.usefixtures("webhook")
    def test_the_bundle_of_another_authority(self, patient: Patient) -> None:
        stranger = create_authority("stranger").certificate
        patient.configure(bundle=stranger)
        patient.expect_cause(Cause.UNTRUSTED)
        patient.expect(f"a new connection to {HOST}:{patient.port} fails: {Cause.UNTRUSTED.words}")

    @pytest.mark.usefixtures("webhook")
    def test_no_bundle(self, patient: Patient) -> None:
        patient.configure(bundle=b"")
        patient.expect_cause(Cause.UNTRUSTED)
        patient.expect(f"webhook mutate.serviceentry-guard.io: {Cause.NO_BUNDLE.words}")

    def test_a_certificate_for_another_name(self, patient: Patient, tmp_path: Path) -> None:
        with answering(tmp_path, patient.authority.serving("other.guard.svc")) as patient.port:
            patient.configure(port=patient.port)
            assert "other.guard.svc" in patient.expect_cause(Cause.MISNAMED).sentence
            patient.expect(f"a new connection to {HOST}:{patient.port} fails: {Cause.MISNAMED.words}")

    def test_an_expired_certificate(self, patient: Patient, tmp_path: Path) -> None:
        old = patient.authority.serving(patient.called, begin=timedelta(days=-2), end=timedelta(days=-1))
        with answering(tmp_path, old) as patient.port:
            patient.configure(port=patient.port)
            patient.expect_cause(Cause.EXPIRED)
            patient.expect(f"a new connection to {HOST}:{patient.port} fails: {Cause.EXPIRED.words}")

    def test_no_certificate_yet(self, patient: Patient) -> None:
        with patient.installation.webhook() as child:
            assert "no serving certificate yet" in patient.expect_cause(Cause.CUT).remedy
            patient.expect(f"a new connection to {HOST}:{patient.port} fails: {Cause.NO_CERTIFICATE.words}")
            child.kill()

    def test_no_tls(self, patient: Patient, tmp_path: Path) -> None:
        with answering(tmp_path) as patient.port:
            patient.configure(port=patient.port)
            patient.expect_cause(Cause.NO_TLS)

    def test_a_connection_that_is_closed(self, patient: Patient) -> None:
        with hanging_up() as patient.port:
            patient.configure(port=patient.port)
            patient.expect_cause(Cause.CUT)

    def test_silence(self, patient: Patient) -> None:
        with silent() as patient.port:
            patient.configure(port=patient.port)
            patient.edit(VALIDATING, timeoutSeconds=1)
            patient.edit(MUTATING, timeoutSeconds=1)
            patient.expect_cause(Cause.TIMEOUT)

    def test_something_else_that_answers(self, patient: Patient, tmp_path: Path) -> None:
        with answering(tmp_path, patient.authority.serving(patient.called)) as patient.port:
            patient.configure(port=patient.port)
            patient.expect_cause(Cause.NO_REVIEW)

    @pytest.mark.usefixtures("webhook")
    def test_a_path_that_leads_nowhere(self, patient: Patient) -> None:
        patient.configure(path="/nowhere")
        patient.expect_cause(Cause.NO_REVIEW)


def test_no_endpoints_in_the_words_of_an_api_server_that_looks_for_them_itself(
    authority: Authority, tmp_path: Path
) -> None:
    with ControlPlane(provide(), ["--enable-aggregator-routing=true"]) as control_plane, ExitStack() as stack:
        client = Client.from_kubeconfig(str(control_plane.kubeconfig))
        stack.callback(client.close)
        installation = Installation(control_plane, client, tmp_path, failure_policies=("Ignore", "Fail"))
        patient = Patient(installation, authority)
        patient.configure(bundle=authority.certificate)
        client.delete(SERVICES, installation.name, SERVICE)
        metadata = {"name": SERVICE, "namespace": installation.name}
        spec = {"ports": [{"port": patient.port}], "selector": {"app": "guard"}}
        client.create(SERVICES, {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec})
        patient.expect_cause(Cause.NO_ENDPOINTS)
        patient.expect(f"Service {installation.name}/{SERVICE}: {Cause.NO_ENDPOINTS.words}")
        patient.configure(port=1)
        patient.expect_cause(Cause.NO_PORT)
        ready = {"addresses": ["198.51.100.1"], "conditions": {"ready": True}}
        labelled: Object = {**metadata, "name": "one", "labels": {"kubernetes.io/service-name": SERVICE}}
        slices: Object = {"metadata": labelled, "addressType": "IPv4", "endpoints": [ready], "ports": [{"port": 1}]}
        client.create(SLICES, {"apiVersion": SLICES.api_version, "kind": SLICES.kind, **slices})
        patient.expect(f"ready webhook pods behind Service {installation.name}/{SERVICE}: 1")


@pytest.mark.usefixtures("webhook")
class TestAnInstallationThatIsAskedInPart:
    def test_lacks_its_validating_configuration(self, patient: Patient) -> None:
        patient.client.delete(VALIDATING, None, patient.installation.name)
        patient.expect(f"{VALIDATING.kind} {patient.installation.name} not found", "Install the chart again")

    def test_lacks_both_configurations(self, patient: Patient) -> None:
        for resource in CONFIGURATIONS:
            patient.client.delete(resource, None, patient.installation.name)
        patient.expect(LOST)
        patient.expect(SILENT)

    def test_holds_no_webhooks(self, patient: Patient) -> None:
        stored = patient.client.get(MUTATING, None, patient.installation.name)
        patient.client.replace(MUTATING, {**stored, "webhooks": []})
        patient.expect(f"{MUTATING.kind} {patient.installation.name} contains no webhooks")

    def test_reports_that_only_the_mutating_webhook_does_not_act(self, patient: Patient) -> None:
        patient.configure(MUTATING, bundle=create_authority("stranger").certificate)
        found = patient.expect("the mutating webhook does not act")
        assert "SEG012" in found.sentence

    def test_leaves_the_namespace_out(self, patient: Patient) -> None:
        for resource in CONFIGURATIONS:
            patient.edit(resource, namespaceSelector={"matchLabels": {"nobody": "has-it"}})
        assert patient.installation.team in patient.expect(LOST, "namespaceSelector").remedy


@pytest.fixture
def meddler(patient: Patient) -> Iterator[Patient]:
    """Admission policies of somebody else's, for the namespace of the dry runs."""
    yield patient
    for resource, item in stored_policies(patient.client):
        if item["metadata"]["name"] == patient.installation.name:
            patient.client.delete(resource, None, patient.installation.name)


def meddle(patient: Patient, kind: str, spec: Object, binding: Object) -> None:
    """Put a policy of somebody else's into force."""
    name = patient.installation.name
    rules = {"apiGroups": ["networking.istio.io"], "apiVersions": ["*"], "operations": ["CREATE"], "resources": ["*"]}
    match = {"resourceRules": [rules], "namespaceSelector": {"matchLabels": patient.installation.labels}}
    for plural, what, fields in (
        ("policies", f"{kind}AdmissionPolicy", {"matchConstraints": match, **spec}),
        ("policybindings", f"{kind}AdmissionPolicyBinding", {"policyName": name, **binding}),
    ):
        resource = Resource(ADMISSION_GROUP, "v1", f"{kind.lower()}admission{plural}", what, namespaced=False)
        body = {"apiVersion": resource.api_version, "kind": what, "metadata": {"name": name}, "spec": fields}
        patient.client.create(resource, body)


@pytest.mark.usefixtures("native")
def test_a_change_by_another_admission_policy_is_not_attributed_to_the_guard(meddler: Patient) -> None:
    for resource in CONFIGURATIONS:
        meddler.client.delete(resource, None, meddler.installation.name)
    expression = 'Object{spec: Object.spec{resolution: "DNS"}}'
    mutation = {"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": expression}}
    meddle(meddler, "Mutating", {"mutations": [mutation], "reinvocationPolicy": "Never"}, {})
    meddler.expect("resolution NONE becomes DNS, but not by the guard")


@pytest.mark.usefixtures("webhook")
def test_a_rejection_by_a_foreign_admission_policy_proves_nothing(meddler: Patient) -> None:
    validation = {"expression": "false", "message": "nothing is allowed here"}
    meddle(meddler, "Validating", {"validations": [validation]}, {"validationActions": ["Deny"]})
    name = meddler.installation.name
    found = meddler.expect(f"policy {name}, which does not belong to the guard, rejects the dry run", code=2)
    assert "nothing is allowed here" in found.sentence


class TestWhatCannotBeSeen:
    @pytest.mark.usefixtures("webhook")
    def test_because_the_user_may_not_create_service_entries(self, patient: Patient) -> None:
        kubeconfig = patient.installation.control_plane.user_kubeconfig("bystander")
        client = Client.from_kubeconfig(str(kubeconfig))
        found = patient.expect('"bystander" may not create ServiceEntries', "--probe-namespace", code=2, client=client)
        client.close()
        assert found.state is State.UNKNOWN

    def test_in_a_namespace_that_is_not_there(self, patient: Patient) -> None:
        patient.expect("or the namespace not found", code=1, probe_namespace="nowhere")

    def test_where_no_api_server_answers(self, patient: Patient, tmp_path: Path) -> None:
        direct = patient.installation.control_plane
        kubeconfig = tmp_path / "dead.kubeconfig"
        kubeconfig.write_text(direct.kubeconfig.read_text().replace(direct.url, f"https://127.0.0.1:{free_port()}"))
        command = [*COMMAND, "doctor", f"--kubeconfig={kubeconfig}"]
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
        assert ended.returncode == 2
        (line,) = ended.stderr.splitlines()
        assert line.startswith("serviceentry-guard: calling the API server failed: ")


class TestTheEmergencyExit:
    def test_opens_whatever_the_webhook_does_and_is_closed_again_as_if_nothing_had_been(self, patient: Patient) -> None:
        there = patient.installation
        condition = {"name": "not-compliant", "expression": "object.spec.resolution != 'DNS'"}
        patient.edit(VALIDATING, matchConditions=[condition])
        before = [patient.client.get(resource, None, there.name)["webhooks"] for resource in CONFIGURATIONS]
        wait_until(lambda: not creatable(patient), "nothing can be stored: no webhook is there", SECONDS)
        kubeconfig = f"--kubeconfig={there.control_plane.kubeconfig}"
        command = [*COMMAND, "doctor", kubeconfig, f"--webhook-configuration={there.name}"]
        for _ in range(2):
            opened = subprocess.run([*command, "--disable"], capture_output=True, text=True, check=True)
            assert f"{VALIDATING.kind} {there.name} disabled: the API server no longer calls it" in opened.stdout
            assert "doctor --enable" in opened.stdout
        wait_until(lambda: creatable(patient), "everything can be stored", SECONDS)
        patient.expect(f"{MUTATING.kind} {there.name} is disabled", "doctor --enable")
        closed = subprocess.run([*command, "--enable"], capture_output=True, text=True, check=True)
        assert f"{MUTATING.kind} {there.name} enabled\n" in closed.stdout
        wait_until(lambda: not creatable(patient), "the webhooks are asked again", SECONDS)
        after = [patient.client.get(resource, None, there.name)["webhooks"] for resource in CONFIGURATIONS]
        assert [without_conditions(one) for one in after] == [without_conditions(one) for one in before]
        assert after[1][0]["matchConditions"] == [condition]
        assert not after[0][0].get("matchConditions")

    def test_without_an_installation_says_that_the_configurations_are_not_found(self, patient: Patient) -> None:
        doctor = Doctor(patient.client, Target("nowhere", "nowhere", "default"))
        assert list(doctor.disable()) == [
            f"{one.kind} nowhere not found: the API server calls no webhook of it" for one in CONFIGURATIONS
        ]

    def test_takes_the_backstop_away_too(self, patient: Patient) -> None:
        resource = Resource(
            ADMISSION_GROUP, "v1", "validatingadmissionpolicybindings", "ValidatingAdmissionPolicyBinding", False
        )
        metadata = {"name": "serviceentry-guard-refuse"}
        spec = {"policyName": "serviceentry-guard-refuse", "validationActions": ["Deny"]}
        binding = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata, "spec": spec}
        patient.client.create(resource, binding)
        done = list(patient.doctor().disable())
        assert any("serviceentry-guard-refuse deleted" in line for line in done)
        with pytest.raises(ApiError):
            patient.client.get(resource, None, "serviceentry-guard-refuse")


def creatable(patient: Patient) -> bool:
    """Whether an entry with resolution NONE passes admission."""
    try:
        patient.client.rehearse(SERVICE_ENTRIES, patient.installation.entry())
    except ApiError:
        return False
    return True


def without_conditions(webhooks: list[Object]) -> list[Object]:
    return [{name: value for name, value in one.items() if name != "matchConditions"} for one in webhooks]
