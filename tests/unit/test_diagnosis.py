"""What the doctor makes of what it saw: the words of a real API server, and what none here could be made to say."""

from datetime import UTC, datetime

import pytest

from app.certificates.probe import Trouble
from app.doctor.causes import Cause, classify
from app.doctor.diagnosis import (
    Check,
    DryRun,
    State,
    Surroundings,
    exit_code,
    judge_change,
    judge_connection,
    judge_lease,
    judge_refusal,
)

LATE = "certificate has expired or is not yet valid: current time 2026-11-24T16:13:25Z is after 2026-11-23T16:13:25Z"
STRANGER = (
    'certificate signed by unknown authority (possibly because of "x509: ECDSA verification failure" while trying to '
    'verify candidate authority certificate "stranger")'
)
GARBAGE = "couldn't get version/kind; json parse error: json: cannot unmarshal string into Go value"
POST = 'failed to call webhook: Post "https://webhook.guard.svc:443/validate?timeout=3s": '
X509 = f"{POST}tls: failed to verify certificate: x509: "
WORDS = {
    f'{POST}service "webhook" not found': Cause.NO_SERVICE,
    f'{POST}no service port 8443 found for service "webhook"': Cause.NO_PORT,
    f'{POST}no endpoints available for service "webhook"': Cause.NO_ENDPOINTS,
    f'{POST}endpoints "webhook" not found': Cause.NO_ENDPOINTS,  # Kubernetes 1.30
    f"{POST}dial tcp 127.0.0.1:36001: connect: connection refused": Cause.REFUSED,
    f"{POST}dial tcp 10.0.0.7:443: connect: no route to host": Cause.UNREACHABLE,
    f"{POST}dial tcp 10.0.0.7:443: i/o timeout": Cause.UNREACHABLE,
    f"{POST}dial tcp: lookup nowhere.invalid on 10.0.0.2:53: no such host": Cause.UNRESOLVED,
    f"{POST}context deadline exceeded": Cause.TIMEOUT,
    f"{POST}net/http: TLS handshake timeout": Cause.TIMEOUT,
    f"{POST}net/http: request canceled (Client.Timeout exceeded while awaiting headers)": Cause.TIMEOUT,
    f"{X509}{LATE}": Cause.EXPIRED,
    f"{X509}certificate is valid for other.guard.svc, not webhook.guard.svc": Cause.MISNAMED,
    f"{X509}certificate relies on legacy Common Name field, use SANs instead": Cause.MISNAMED,
    f"{X509}cannot validate certificate for 10.0.0.7 because it doesn't contain any IP SANs": Cause.MISNAMED,
    f"{X509}certificate signed by unknown authority": Cause.UNTRUSTED,
    f"{X509}{STRANGER}": Cause.UNTRUSTED,
    "failed to call webhook: could not get REST client: unable to load root certificates: unable to parse bytes as PEM "
    "block": Cause.NO_BUNDLE,
    f"{POST}remote error: tls: internal error": Cause.NO_CERTIFICATE,
    f"{POST}tls: first record does not look like a TLS handshake": Cause.NO_TLS,
    f"{POST}http: server gave HTTP response to HTTPS client": Cause.NO_TLS,
    f"{POST}EOF": Cause.CUT,
    f"{POST}read tcp 10.0.0.1:5->10.0.0.7:443: read: connection reset by peer": Cause.CUT,
    "failed to call webhook: too many concurrent requests": Cause.OVERLOADED,
    f"failed to call webhook: {GARBAGE}": Cause.NO_REVIEW,
    "failed to call webhook: the server could not find the requested resource": Cause.NO_REVIEW,
    "received invalid webhook response: expected webhook response of admission.k8s.io/v1, Kind=AdmissionReview": (
        Cause.NO_REVIEW
    ),
    "failed to call webhook: something that nobody has seen yet": Cause.OTHER,
}
OURS = ("mutate.serviceentry-guard.io", "validate.serviceentry-guard.io")
AROUND = Surroundings(OURS, called="webhook.guard.svc", namespace="team")
NATIVE = Surroundings(OURS[1:], repairs=True)
SEG003 = "SEG003 spec.resolution: NONE becomes DNS, so that retries can reach another address"
DENIED = 'admission webhook "validate.serviceentry-guard.io" denied the request: SEG006 spec.addresses[0]: no'
BACKSTOP = (
    "serviceentries.networking.istio.io \"x\" is forbidden: ValidatingAdmissionPolicy 'serviceentry-guard-refuse' with "
    "binding 'serviceentry-guard-refuse' denied request: SEG006 spec.addresses[0]: no"
)
DNS, NONE = DryRun(201, "DNS"), DryRun(201, "NONE")
WARNED = DryRun(201, "NONE", (SEG003,))


@pytest.mark.parametrize(("words", "cause"), WORDS.items())
def test_the_words_of_the_api_server_are_understood(words: str, cause: Cause) -> None:
    assert classify(words) is cause


def test_every_cause_has_words_and_a_remedy_of_its_own_and_names_what_it_is_for() -> None:
    assert len({cause.words for cause in Cause}) == len(Cause)
    assert all(cause.remedy("webhook.guard.svc").endswith(".") for cause in Cause)
    assert "webhook.guard.svc" in Cause.MISNAMED.remedy("webhook.guard.svc")
    assert "{" not in Cause.MISNAMED.remedy("")


@pytest.mark.parametrize(
    ("seen", "around", "state", "said"),
    [
        (DryRun(201, "DNS", (SEG003,)), AROUND, State.OK, "the webhook turns"),
        (DNS, NATIVE, State.OK, "the MutatingAdmissionPolicy turns"),
        (DNS, AROUND, State.PROBLEM, "not by the guard"),
        (WARNED, AROUND, State.OK, "a warning only"),
        (NONE, AROUND, State.PROBLEM, "would be stored unchanged"),
        (DryRun(403, message=DENIED), AROUND, State.PROBLEM, "the mutating webhook does not act"),
        (DryRun(422, message=BACKSTOP), AROUND, State.PROBLEM, "the mutating webhook does not act"),
    ],
)
def test_a_change_counts_only_if_the_guard_made_it(seen: DryRun, around: Surroundings, state: State, said: str) -> None:
    finding = judge_change(seen, around)
    assert (finding.state, finding.essential) == (state, True)
    assert said in finding.sentence
    assert bool(finding.remedy) == (state is not State.OK)


@pytest.mark.parametrize(
    ("seen", "around", "state", "said"),
    [
        (DryRun(403, message=DENIED), AROUND, State.OK, "webhook validate.serviceentry-guard.io rejects"),
        (DryRun(422, message=BACKSTOP), NATIVE, State.OK, "the ValidatingAdmissionPolicy rejects"),
        (DryRun(422, message=BACKSTOP), Surroundings(()), State.OK, "the ValidatingAdmissionPolicy rejects"),
        (DryRun(422, message=BACKSTOP), AROUND, State.PROBLEM, "by the backstop only"),
        (WARNED, AROUND, State.OK, "a warning only"),
        (NONE, AROUND, State.PROBLEM, "would be stored"),
        (DNS, AROUND, State.PROBLEM, "would be stored"),
    ],
)
def test_a_rejection_counts_only_if_the_guard_made_it(
    seen: DryRun, around: Surroundings, state: State, said: str
) -> None:
    finding = judge_refusal(seen, around)
    assert (finding.state, finding.essential) == (state, True)
    assert said in finding.sentence


FORBIDDEN = (
    'serviceentries.networking.istio.io is forbidden: User "jane" cannot create resource "serviceentries" in API group'
)
CALL = 'Internal error occurred: failed calling webhook "{}": ' + POST + "EOF"
NO_VERDICT = [
    (DryRun(403, message=FORBIDDEN), State.UNKNOWN, '"jane" may not create ServiceEntries in namespace team'),
    (DryRun(404, message='namespaces "team" not found'), State.UNKNOWN, "or the namespace not found"),
    (DryRun(401, message="Unauthorized"), State.UNKNOWN, "authentication failed (401)"),
    (DryRun(0, message="no route"), State.UNKNOWN, "cannot be reached"),
    (DryRun(400, message="strict decoding error"), State.UNKNOWN, "rejects the dry run"),
    (
        DryRun(403, message='admission webhook "other.example.com" denied the request: no'),
        State.UNKNOWN,
        "webhook other.example.com, which does not belong to the guard",
    ),
    (
        DryRun(422, message="ValidatingAdmissionPolicy 'theirs' with binding 'b' denied request: no"),
        State.UNKNOWN,
        "policy theirs, which does not belong to the guard",
    ),
    (
        DryRun(500, message=CALL.format(OURS[0])),
        State.PROBLEM,
        f"webhook {OURS[0]}: the connection was closed before an answer came",
    ),
    (
        DryRun(500, message=CALL.format("other.example.com")),
        State.PROBLEM,
        "another product's webhook other.example.com",
    ),
]


@pytest.mark.parametrize(("seen", "state", "said"), NO_VERDICT)
def test_a_dry_run_without_a_verdict_reports_the_reason(seen: DryRun, state: State, said: str) -> None:
    for judge in (judge_change, judge_refusal):
        finding = judge(seen, AROUND)
        assert (finding.state, finding.essential) == (state, True)
        assert said in finding.sentence
        assert finding.remedy
        assert "\n" not in finding.sentence


def test_a_connection_proves_what_is_wrong_with_it_and_none_proves_nothing() -> None:
    for trouble in Trouble:
        finding = judge_connection("10.0.0.7:443", "webhook.guard.svc", trouble, "why")
        unproved = {Trouble.UNRESOLVED, Trouble.TIMEOUT, Trouble.UNREACHABLE}
        assert finding.state is (State.UNKNOWN if trouble in unproved else State.PROBLEM)
        assert "10.0.0.7:443" in finding.sentence
        assert "(why)" in finding.sentence
        assert not finding.essential
    assert judge_connection("10.0.0.7:443", "webhook.guard.svc", None, "").state is State.OK


def test_the_exit_code_is_that_of_the_worst_that_has_to_be_known() -> None:
    fine, bad = Check(State.OK, ""), Check(State.PROBLEM, "")
    unseen, unknown = Check(State.UNKNOWN, ""), Check(State.UNKNOWN, "", essential=True)
    assert exit_code([fine, unseen]) == 0
    assert exit_code([fine, unseen, unknown]) == 2
    assert exit_code([unknown, bad]) == 1


@pytest.mark.parametrize(
    ("holder", "renewed", "found"),
    [
        ("pod-1", "2026-01-01T00:00:30.000000Z", True),
        ("pod-1", "2026-01-01T00:02:00.000000Z", True),
        ("pod-1", "2025-12-31T23:59:29.000000Z", False),
        ("", "2026-01-01T00:00:30.000000Z", False),
        ("pod-1", None, False),
    ],
)
def test_another_installation_that_renews_its_lease_is_a_problem(holder: str, renewed: str | None, found: bool) -> None:
    lease = {
        "metadata": {"namespace": "other", "name": "serviceentry-guard-controller"},
        "spec": {"holderIdentity": holder, "renewTime": renewed},
    }
    finding = judge_lease(lease, datetime(2026, 1, 1, 0, 0, 30, tzinfo=UTC))
    if found:
        assert finding
        assert finding.state is State.PROBLEM
        lease_name = "Lease other/serviceentry-guard-controller"
        assert finding.sentence == f"another installation leads: {lease_name} is held by pod-1"
    else:
        assert finding is None
