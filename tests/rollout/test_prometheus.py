import http.server
import json
import threading

import pytest

from mirroring.rollout import prometheus


@pytest.fixture
def server(settings):
    """A server that speaks Prometheus's wire format; the test says what it answers."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(answer).encode())

        def log_message(self, *args):
            pass

    asked, answer = [], {}
    running = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=running.serve_forever, daemon=True).start()
    settings.PROMETHEUS_URL = f"http://127.0.0.1:{running.server_port}"
    yield answer, asked
    running.shutdown()
    running.server_close()


def vector(*values):
    result = [{"metric": {}, "value": [1, value]} for value in values]
    return {"status": "success", "data": {"resultType": "vector", "result": result}}


def test_the_value_of_a_query_is_read(server):
    answer, asked = server
    answer.update(vector("4.5"))

    assert prometheus.ask('rate(x{a="b"}[5m])') == 4.5
    assert asked == ["/api/v1/query?query=rate%28x%7Ba%3D%22b%22%7D%5B5m%5D%29"]


def test_a_query_that_matches_nothing_is_no_data_and_no_error(server):
    server[0].update(vector())

    assert prometheus.ask("x") is None


@pytest.mark.parametrize(
    "body", [vector("1", "2"), vector("NaN"), vector("+Inf"), {"status": "error"}, {"data": 3}]
)
def test_an_answer_that_is_not_one_number_is_an_error(server, body):
    server[0].update(body)

    with pytest.raises(prometheus.NoAnswer):
        prometheus.ask("x")


def test_a_server_that_is_away_is_an_error(settings):
    settings.PROMETHEUS_URL = "http://127.0.0.1:1"

    with pytest.raises(prometheus.NoAnswer, match="Prometheus"):
        prometheus.ask("x")


@pytest.mark.django_db
def test_a_measure_that_prometheus_answers_for_is_taken_from_there(server, settings, tracker):
    from mirroring.rollout import samples
    from tests.making import NOW

    settings.PROMETHEUS_QUERIES = {"lag_seconds": "max(lag)", "bounced": "x"}
    server[0].update(vector("77"))

    assert samples.take(now=NOW, tracker=tracker).values["lag_seconds"] == 77
