"""What a request gets: a review, or an HTTP error that says why. Never a 500 for bad input."""

import json
import logging
from collections.abc import Iterator
from http import HTTPStatus

import pytest

import app.webhook.server
import app.webhook.transition
from app.core.policy.model import default_policy
from app.telemetry.logs import TextFormatter
from app.webhook.admission import Stage, answer
from tests.bed.pki import Authority
from tests.contract.clients import BODY, REVIEW, Response, request
from tests.contract.webhooks import Files, Running, running, until


@pytest.fixture(scope="module")
def webhook(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[Running]:
    with running(Files.create(tmp_path_factory.mktemp("requests"), authority)) as webhook:
        yield webhook


def refusal(response: Response) -> str:
    """Return the reason of a refusal, having seen that it is one."""
    assert response.document["kind"] == "Status"
    assert response.document["status"] == "Failure"
    assert response.document["code"] == response.status
    return str(response.document["message"])


@pytest.mark.parametrize("stage", Stage)
def test_each_stage_answers_what_the_codec_says(webhook: Running, stage: Stage) -> None:
    response = webhook.ask(request(path=f"/{stage.value}"))
    assert response.status == 200
    assert response.headers["content-type"] == "application/json"
    assert response.body == answer(stage, BODY, default_policy()).body


def test_answers_do_not_name_the_server_software(webhook: Running) -> None:
    assert "server" not in webhook.ask().headers


def test_a_client_that_offers_http2_is_served_http1(webhook: Running) -> None:
    with webhook.connect() as client:
        assert client.socket.selected_alpn_protocol() is None
        assert client.ask().status == 200


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"])
def test_only_post_is_allowed(webhook: Running, method: str) -> None:
    with webhook.connect() as client:
        client.send(request(b"", method=method))
        response = client.receive(method)
    assert (response.status, response.headers["allow"]) == (405, "POST")


@pytest.mark.parametrize(
    "path", ["/", "/mutate/", "/mutate/x", "/validate/", "/docs", "/redoc", "/openapi.json", "/healthz", "/metrics"]
)
def test_no_other_path_exists(webhook: Running, path: str) -> None:
    response = webhook.ask(request(path=path))
    assert response.status == 404
    assert response.document == {"detail": "Not Found"}


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "not a valid admission.k8s.io/v1 AdmissionReview"),
        (b"not JSON", "not a valid admission.k8s.io/v1 AdmissionReview"),
        (b"\xff\xfe", "not a valid admission.k8s.io/v1 AdmissionReview"),
        (b"[]", "not a valid admission.k8s.io/v1 AdmissionReview"),
        (BODY.replace(b"api.example", b"\xff.example"), "not a valid admission.k8s.io/v1 AdmissionReview"),
        (b'{"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview"}', "request"),
        (json.dumps({**REVIEW, "apiVersion": "admission.k8s.io/v1beta1"}).encode(), "the only supported version"),
        (b"[" * 200_000 + b"]" * 200_000, "not a valid admission.k8s.io/v1 AdmissionReview"),
        (BODY.replace(b'"NONE"', b"[" * 200_000 + b"]" * 200_000), "nested"),
        (BODY.replace(b'"NONE"', b'{"a":' * 200_000 + b"1" + b"}" * 200_000), "nested"),
        (BODY.replace(b'"NONE"', b"[" * 100 + b"]" * 100), "nested"),
    ],
    ids=[
        *("empty", "text", "bytes", "list", "no UTF-8 in a text", "no request", "v1beta1"),
        *("deep", "deep lists", "deep objects", "too deep"),
    ],
)
def test_a_body_that_is_not_a_review_gets_400_and_the_reason(webhook: Running, body: bytes, reason: str) -> None:
    response = webhook.ask(request(body))
    assert response.status == 400
    assert reason in refusal(response)


def test_nesting_that_is_not_caught_would_be_a_500(webhook: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = b"[" * 200_000 + b"]" * 200_000
    monkeypatch.setattr(app.webhook.transition, "answer", lambda _stage, body, _policy: json.loads(body))
    assert webhook.ask(request(deep)).status == 500
    monkeypatch.undo()
    assert webhook.ask(request(deep)).status == 400


@pytest.mark.parametrize(
    "content_type", ["application/json", "application/json; charset=utf-8", "Application/JSON", ""]
)
def test_json_is_taken_however_it_is_announced(webhook: Running, content_type: str) -> None:
    assert webhook.ask(request(content_type=content_type)).status == 200


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "application/jsonp"])
def test_other_content_types_get_415(webhook: Running, content_type: str) -> None:
    response = webhook.ask(request(content_type=content_type))
    assert response.status == 415
    assert "application/json" in refusal(response)


@pytest.mark.parametrize(
    "garbage",
    [b"\x16\x03\x01 hello\r\n\r\n", b"CONNECT x:1 HTTP/1.1\r\n\r\n", b"POST /\xc3\xa9 HTTP/1.1\r\nHost: x\r\n\r\n"],
    ids=["no HTTP", "no path", "no ASCII"],
)
def test_invalid_http_ends_only_its_own_connection(webhook: Running, garbage: bytes) -> None:
    with webhook.connect() as client:
        assert client.ask(garbage).status in {400, 404}
    assert webhook.ask().status == 200


def test_an_error_inside_is_a_fixed_sentence_and_never_allows(
    webhook: Running, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise LookupError("a secret of the inside")

    monkeypatch.setattr(app.webhook.transition, "answer", fail)
    response = webhook.ask()
    assert response.status == 500
    assert refusal(response) == app.webhook.server.FAILURE
    assert b"allowed" not in response.body
    assert b"secret" not in response.body
    assert [record.exc_info[0] for record in caplog.records if record.exc_info] == [LookupError]


def test_a_client_that_disconnects_in_the_middle_is_noticed_and_harms_no_other_client(
    webhook: Running, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    with webhook.connect() as client:
        client.send(request(b"{", length=100))
    until(lambda: "client disconnected before the request body was complete" in caplog.text)
    assert webhook.ask().status == 200


def test_each_admission_is_one_line_of_the_log_without_the_body(
    webhook: Running, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    webhook.ask()
    (record,) = [record for record in caplog.records if record.name == "app.webhook.server"]
    line = TextFormatter().format(record)
    assert line.partition(" milliseconds=")[0].endswith(
        "Z INFO app.webhook.server: admission stage=mutate uid=7d1ff8a9-2d5c-4b8e-9c1f-3b1b5b0f7a11 operation=CREATE "
        "namespace=team name=external user=jane verdict=patched codes=SEG003"
    )
    assert "api.example.com" not in line


def test_a_refused_request_is_one_warning(webhook: Running, caplog: pytest.LogCaptureFixture) -> None:
    webhook.ask(request(b"no"))
    (record,) = [record for record in caplog.records if record.name == "app.webhook.server"]
    assert record.levelno == logging.WARNING
    assert record.getMessage().startswith("rejected request to /mutate from ('127.0.0.1', ")


def test_every_outcome_is_counted_and_operations_are_bounded(files: Files) -> None:
    invented = {**REVIEW, "request": {**REVIEW["request"], "operation": "INVENTED"}}
    with running(files) as webhook:
        webhook.ask()
        webhook.ask(request(path="/validate"))
        webhook.ask(request(json.dumps(invented).encode()))
        webhook.ask(request(b"no"))
        exposed = webhook.probe("/metrics").body.decode()
    name = "serviceentry_guard_admission_requests_total"
    counted = {line for line in exposed.splitlines() if line.startswith(name)}
    assert counted == {
        name + '{operation="CREATE",stage="mutate",verdict="patched"} 1.0',
        name + '{operation="CREATE",stage="validate",verdict="denied"} 1.0',
        name + '{operation="other",stage="mutate",verdict="allowed"} 1.0',
        name + '{operation="other",stage="mutate",verdict="malformed"} 1.0',
    }
    found = '{code="SEG003",operation="CREATE",stage="mutate",verdict="patched"} 1.0'
    assert f"serviceentry_guard_admission_findings_total{found}" in exposed
    assert 'serviceentry_guard_admission_duration_seconds_count{stage="mutate"} 2.0' in exposed
    assert f'admission_request_body_size_bytes_sum{{stage="validate"}} {float(len(json.dumps(REVIEW)))}' in exposed
    assert 'serviceentry_guard_build_info{version="' in exposed


def test_health_answers_beside_the_reviews(webhook: Running) -> None:
    for path in ("/healthz", "/readyz"):
        response = webhook.probe(path)
        assert (response.status, response.body) == (HTTPStatus.OK, b"ok")
