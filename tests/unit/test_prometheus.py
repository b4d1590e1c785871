"""The reader of Prometheus, against a server that answers as no healthy Prometheus does."""

import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest

from app.core.insight.calls import Window
from app.prometheus.client import Endpoint, Prometheus, PrometheusError, Sample
from app.prometheus.traffic import Question, read_traffic
from tests.bed.pki import create_authority
from tests.unit.kube_server import Handler, Server, json_answer, running, text_answer

WEEK = Window("7d")


def vector(*series: dict[str, Any], **more: Any) -> dict[str, Any]:
    """An answer as Prometheus gives it."""
    return {"status": "success", "data": {"resultType": "vector", "result": list(series)}, **more}


def one(value: str = "1", **labels: str) -> dict[str, Any]:
    return {"metric": labels, "value": [1_700_000_000.25, value]}


@pytest.fixture
def server() -> Iterator[Server]:
    with running() as server:
        yield server


def asked(server: Server, expression: str = "up", **endpoint: Any) -> list[Sample]:
    return list(Prometheus(Endpoint(url=server.url, **endpoint)).query(expression))


def refused(server: Server, **endpoint: Any) -> str:
    with pytest.raises(PrometheusError) as error:
        asked(server, **endpoint)
    return str(error.value).replace(server.url, "URL")


def test_series_that_come_in_pieces_are_put_together(server: Server) -> None:
    body = msgspec.json.encode(vector(one("2.5", host="ä"), one("1e3", host="b")))

    def pieces(handler: Handler) -> None:
        handler.send_chunks(*(body[place : place + 1] for place in range(len(body))))
        handler.send_end()

    server.answers = [pieces]
    assert asked(server) == [
        Sample({"host": "ä"}, 2.5, 1_700_000_000.25),
        Sample({"host": "b"}, 1000, 1_700_000_000.25),
    ]


def test_an_answer_without_series_is_empty(server: Server) -> None:
    server.answers = [json_answer(vector())]
    assert asked(server) == []


@pytest.mark.parametrize(
    "answer",
    [
        text_answer("<html>login</html>", 200),
        json_answer({"status": "success", "data": {"resultType": "vector", "result": [{"metric": {}}]}}),
        json_answer(
            {"status": "success", "data": {"resultType": "vector", "result": [{"metric": {}, "value": [1, "x"]}]}}
        ),
        text_answer('{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1,"1"]}', 200),
        text_answer('{"data":{"result":[' + "x" * 2_000_000, 200),
    ],
)
def test_an_invalid_prometheus_response_is_one_sentence(server: Server, answer: Callable[[Handler], None]) -> None:
    server.answers = [answer]
    assert refused(server) == "URL did not return a Prometheus response"


def test_a_partial_answer_is_an_error(server: Server) -> None:
    server.answers = [json_answer(vector(one(), warnings=["store-gateway 1\nis down"]))]
    assert refused(server) == "Prometheus at URL returned only a part of the data: store-gateway 1 is down"


def test_a_query_that_is_rejected_says_why(server: Server) -> None:
    server.answers = [json_answer({"status": "error", "error": "too many samples"}, 422)]
    assert refused(server) == "Prometheus at URL rejects the query (422): too many samples"
    server.answers = [text_answer("no", 500)]
    assert refused(server) == "Prometheus at URL rejects the query (500): without an explanation"


def test_a_query_that_prometheus_itself_gives_up_is_slow(server: Server) -> None:
    server.answers = [json_answer({"status": "error", "error": "query timed out in expression evaluation"}, 503)]
    assert refused(server).startswith("Prometheus at URL does not answer within 60 s;")


def test_an_answer_that_trickles_is_slow(server: Server) -> None:
    def trickle(handler: Handler) -> None:
        handler.send_chunks(b'{"data":{"result":[')
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            handler.wfile.write(b"1\r\n \r\n")
            time.sleep(0.01)

    server.answers = [trickle]
    assert refused(server, timeout=0.3).startswith("Prometheus at URL does not answer within 0.3 s;")


def test_a_redirect_is_not_followed(server: Server) -> None:
    server.answers = [lambda handler: handler.send(302, b"", Location="http://127.0.0.1:1/")]
    assert refused(server) == "URL redirects to another address; use that address for --prometheus"
    assert len(server.seen) == 1


def test_a_token_is_sent_and_a_wrong_token_is_an_error(server: Server, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("secret\n")
    server.answers = [json_answer(vector()), json_answer({}, 403)]
    assert asked(server, token_file=file) == []
    assert server.seen[0].headers["Authorization"] == "Bearer secret"
    said = refused(server, token_file=file)
    assert said == "Prometheus at URL rejects the credentials (403): the token is not accepted"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"token_file": "missing"}, "missing is not a file"),
        ({"token_file": "empty"}, "empty does not contain a token"),
        ({"ca_file": "missing"}, "missing is not a file"),
        ({"ca_file": "empty"}, "empty is not a file of CA certificates in PEM"),
    ],
)
def test_files_that_cannot_be_used_are_named(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: dict[str, str], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty").write_text("")
    assert said in refused(server, **{name: Path(file) for name, file in given.items()})


@pytest.mark.parametrize("url", ["prometheus:9090", "ftp://host", "http://", "http://host:port", "http://a:b@host"])
def test_an_invalid_address_is_an_error(url: str) -> None:
    with pytest.raises(PrometheusError, match=r"is not a URL such as|must not contain credentials"):
        Prometheus(Endpoint(url=url))


@contextmanager
def over_tls(folder: Path) -> Iterator[Server]:
    """A server with a certificate of an authority of its own, which is in the file ca.pem."""
    authority = create_authority("test")
    pair = authority.serving("127.0.0.1")
    names = {"ca.pem": authority.certificate, "cert.pem": pair.certificate, "key.pem": pair.private_key}
    for name, content in names.items():
        (folder / name).write_bytes(content)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    with Server() as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        server.url = server.url.replace("http:", "https:")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_a_certificate_counts_once_its_authority_is_named(tmp_path: Path) -> None:
    with over_tls(tmp_path) as server:
        server.answers = [json_answer(vector(one()))]
        assert refused(server) == (
            "Prometheus at URL does not answer: its certificate is not trusted; set --prometheus-ca-file"
        )
        assert len(asked(server, ca_file=tmp_path / "ca.pem")) == 1


def read(server: Server, **question: Any) -> None:
    read_traffic(Prometheus(Endpoint(url=server.url)), Question(window=WEEK, **question), {"api.example.com"})


def queries(server: Server) -> list[dict[str, list[str]]]:
    return [parse_qs(urlsplit(seen.path).query) for seen in server.seen]


def test_queries_are_few_and_at_one_moment(server: Server) -> None:
    hosts = ("api.example.com", "other.example.com")
    series = [one(destination_service=host, le=le, response_flags="UC") for host in hosts for le in ("1", "+Inf", "")]
    server.answers = [json_answer(vector(*series, one("NaN", destination_service=hosts[0])))]
    read(server, matchers=['cluster="prod"'], cluster_domains=["cluster.local"])
    asked_for = queries(server)
    assert len(asked_for) == 7
    assert "time" not in asked_for[0]
    assert {one["time"][0] for one in asked_for[1:]} == {"1700000000.250"}
    (query,) = asked_for[0]["query"]
    assert query == (
        "sum by (destination_service,source_workload_namespace) (increase(istio_requests_total{"
        'reporter="source",cluster="prod",destination_service!~".+\\\\.svc(\\\\.cluster\\\\.local)?",'
        'destination_service_name!~"PassthroughCluster|BlackHoleCluster"}[7d]))'
    )


def test_a_matcher_for_the_reporter_replaces_the_usual_one(server: Server) -> None:
    server.answers = [json_answer(vector(one(destination_service="x", le="1")))]
    read(server, matchers=['reporter="waypoint"'])
    assert 'reporter="source"' not in queries(server)[0]["query"][0]
    assert '!~".+\\\\.svc"' in queries(server)[0]["query"][0]


@pytest.mark.parametrize("matcher", ["cluster=prod", 'a="b"}', 'a="b", c="d"', 'a="b"} or up{c="d"', ""])
def test_an_invalid_matcher_is_an_error_and_sends_no_query(server: Server, matcher: str) -> None:
    with pytest.raises(PrometheusError, match="is not a matcher of labels"):
        read(server, matchers=[matcher])
    assert server.seen == []


def test_no_calls_in_a_mesh_with_metrics_is_not_a_failure(server: Server) -> None:
    server.answers = [json_answer(vector()), json_answer(vector(one())), json_answer(vector())]
    read(server)
