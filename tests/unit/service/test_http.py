"""Studies over HTTP, as curl would use them."""

import json
import math
import threading
import time

import pytest

pytest.importorskip("grpc")
pytest.importorskip("starlette")
pytest.importorskip("httpx")

import httpx

import phyletic as ph
from phyletic.service.server import serving

NEW = {
    "name": "digits",
    "space": {
        "lr": {"type": "float", "low": 1e-4, "high": 0.1, "log": True},
        "width": {"type": "choice", "options": [2, 3], "fixed": True},
        "batch": 32,
    },
    "metrics": [{"name": "score", "mode": "max"}],
    "algorithm": {"type": "PBT", "population": 2, "interval": 5, "synchronous": True},
    "budget": {"steps": 10},
    "seed": 1,
}


@pytest.fixture
def server(tmp_path):
    with serving(f"sqlite:///{tmp_path}/digits.db", http_port=0) as server:
        yield server


@pytest.fixture
def client(server):
    shown = {"authorization": f"Bearer {server.token_file.read_text().strip()}"}
    with httpx.Client(base_url=f"{server.http_url}/v1", headers=shown, timeout=30) as client:
        yield client


def post(client, path, body, status=200):
    answer = client.post(f"/studies{path}", content=json.dumps(body))
    assert answer.status_code == status, answer.text
    return answer.json()


def test_a_whole_study(client):
    created = post(client, "", NEW, 201)
    assert created["identity"]["seed"] == 1
    numbers = []
    while (answer := post(client, "/digits/ask", {"worker": "w", "wait_seconds": 5}))["type"] == "Granted":
        (grant,) = answer["grants"]
        assert grant["trial"]["hyperparameters"].keys() == {"lr", "width", "batch"}
        beat = {"lease": grant["lease"], "step": 1, "evaluations": [{"step": 1, "metric": "score", "value": 0.1}]}
        assert post(client, "/digits/heartbeat", beat) == {
            "type": "Done", "trial": None, "stop": "", "received": 1, "lineage": [],
        }  # fmt: skip
        told = post(client, "/digits/tell", {"lease": grant["lease"], "metrics": {"score": 0.5}})
        assert told["trial"]["score"] == 0.5
        numbers.append(grant["trial"]["number"])
    assert answer["type"] == "Finished"
    assert numbers == [0, 1, 2, 3]
    found = client.get("/studies/digits").json()
    assert found["status"]["state"] == "finished"
    assert found["status"]["best_score"] == 0.5
    pages, after = [], -1
    while after is not None:
        page = client.get("/studies/digits/trials", params={"limit": 3, "after": after}).json()
        pages.append([trial["number"] for trial in page["trials"]])
        after = page["next"]
    assert pages == [[0, 1, 2], [3]]
    assert [one["name"] for one in client.get("/studies").json()["studies"]] == ["digits"]


def test_every_call_may_be_said_again(client):
    first, again = post(client, "", NEW, 201), post(client, "", NEW, 201)
    assert first["identity"] == again["identity"]
    post(client, "", {key: value for key, value in NEW.items() if key != "seed"}, 201)
    ask = {"worker": "w"}
    answer = post(client, "/digits/ask", ask)
    assert post(client, "/digits/ask", ask) == answer
    tell = {"lease": answer["grants"][0]["lease"], "metrics": {"score": 1.0}}
    assert post(client, "/digits/tell", tell) == post(client, "/digits/tell", tell)
    other = post(client, "/digits/tell", {**tell, "metrics": {"score": 2.0}}, 409)
    assert other["error"] == "TellConflict"


def test_a_study_with_another_identity_is_refused_by_what_differs(client):
    post(client, "", NEW, 201)
    refused = post(client, "", {**NEW, "metrics": [{"name": "loss", "mode": "min"}]}, 409)
    assert refused["error"] == "StudyMismatch"
    assert "metric" in refused["message"]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"metrics": []}, "metrics"),
        ({"metrics": [{"name": "score", "mode": "best"}]}, "mode"),
        ({"space": {"lr": {"low": 1}}}, "lr"),
        ({"space": {"lr": {"type": "float", "low": 2, "high": 1}}}, "lr"),
        ({"algorithm": {"type": "os:system"}}, "os:system"),
        ({"algorithm": {"type": "UserFunction", "qualified_name": "mine", "hash": "x"}}, "mine"),
        ({"algorithm": {"type": "PBT", "population": 2, "interval": 5, "explore": {"type": "x:Y"}}}, "x:Y"),
        ({"algorithm": {"type": "PBT"}}, "interval"),
        ({"algorithm": {"type": "PBT", "population": 0, "interval": 5}}, "population"),
        ({"budget": {"steps": 0}}, "budget.steps"),
        ({"name": "a\nb"}, "name"),
        ({"initial": [{"lr": 7}]}, "lr"),
        ({"unknown": 1}, "unknown"),
    ],
)
def test_a_study_that_cannot_be_is_refused_by_name_and_not_made(client, change, named):
    refused = post(client, "", {**NEW, **change}, 400)
    assert named in refused["message"]
    assert client.get("/studies").json() == {"studies": []}


def test_numbers_that_are_not_finite_travel_as_texts(client):
    post(client, "", NEW, 201)
    lease = post(client, "/digits/ask", {"worker": "w"})["grants"][0]["lease"]
    told = post(client, "/digits/tell", {"lease": lease, "metrics": {"score": "NaN", "other": "-Infinity"}})
    assert told["trial"]["metrics"] == {"score": "NaN", "other": "-Infinity"}
    assert math.isnan(float(client.get("/studies/digits/trials").json()["trials"][0]["score"]))


def test_control_changes_and_names_what_is_wrong(client):
    post(client, "", NEW, 201)
    changed = post(client, "/digits/control", {"population": 3, "paused": True, "budget": {"trials": 9}})
    assert (changed["control"]["population"], changed["control"]["paused"]) == (3, True)
    assert changed["control"]["budget"] == {"trials": 9}
    assert post(client, "/digits/ask", {"worker": "w"})["type"] == "Wait"
    assert post(client, "/digits/control", {"population": 0}, 400)["name"] == "population"
    assert post(client, "/digits/control", {"pin": 7}, 404)["error"] == "NotFound"
    assert post(client, "/digits/control", {"enqueue": {"lr": 5}}, 400)["error"] == "InvalidSpace"
    post(client, "/digits/control", {"stop": "drain"})
    answers = [post(client, "/digits/ask", {"worker": "w"})["type"] for _ in range(2)]
    # a worker that goes on after it was stopped is a new run
    assert answers == ["Finished", "Wait"]


def test_a_failed_attempt_is_tried_again(client):
    post(client, "", NEW, 201)
    first = post(client, "/digits/ask", {"worker": "w"})["grants"][0]
    failed = post(client, "/digits/fail", {"lease": first["lease"], "error": "by bad luck"})
    assert (failed["trial"]["failures"], failed["trial"]["error"]) == (1, "by bad luck")
    again = post(client, "/digits/ask", {"worker": "w"})["grants"][0]
    assert again["trial"]["number"] == first["trial"]["number"]
    assert again["lease"]["fence"] == first["lease"]["fence"] + 1
    late = post(client, "/digits/tell", {"lease": first["lease"], "metrics": {"score": 1}}, 409)
    assert late["error"] == "LeaseLost"


def events(client, since, count):
    """Return the first events of a study's stream: (id, kind, data)."""
    found, event = [], {}
    with client.stream("GET", "/studies/digits/watch", params={"since": since}) as stream:
        for line in stream.iter_lines():
            name, _, text = line.partition(": ")
            if name:
                event[name] = text
            elif "data" in event:
                found.append((event.get("id"), event["event"], json.loads(event["data"])))
                event = {}
                if len(found) == count:
                    return found
    return found


def test_a_watcher_sees_what_happens_and_goes_on_where_it_was(client):
    post(client, "", NEW, 201)

    def train():
        time.sleep(0.3)
        for _ in range(2):
            lease = post(client, "/digits/ask", {"worker": "w"})["grants"][0]["lease"]
            post(client, "/digits/tell", {"lease": lease, "metrics": {"score": 0.5}})

    training = threading.Thread(target=train)
    training.start()
    seen = events(client, -1, 7)
    training.join()
    kinds = [kind for _, kind, _ in seen]
    assert kinds == ["owner", "decided", "decided", "completed", "completed", "decided", "decided"]
    middle = int(seen[3][0])
    assert [one[1:] for one in events(client, middle, 3)] == [one[1:] for one in seen[4:]]


def test_operations_see_whether_it_is_ready_and_what_it_does(client, server):
    post(client, "", NEW, 201)
    post(client, "/digits/ask", {"worker": "w"})
    ready = httpx.get(f"{server.http_url}/readyz")
    assert (ready.status_code, ready.json()) == (200, {"ready": True, "reason": ""})
    figures = httpx.get(f"{server.http_url}/metrics", headers=client.headers).text
    assert "phyletic_ready 1" in figures
    assert 'phyletic_commands_total{study="digits"} 2' in figures


def test_the_description_covers_every_call(client, server):
    document = httpx.get(f"{server.http_url}/openapi.json").json()
    calls = ("trials", "rows", "checkpoints/{path}", "watch", "exchange", "ask", "tell", "fail", "heartbeat", "control")
    assert set(document["paths"]) == {
        "/v1/studies", "/v1/studies/{study}",
        *[f"/v1/studies/{{study}}/{call}" for call in calls],
    }  # fmt: skip
    text = json.dumps(document)
    for name in document["components"]["schemas"]:
        assert f"#/components/schemas/{name}" in text
    assert "StudyIdentity" in document["components"]["schemas"]


def test_a_body_that_is_too_large_is_refused(client):
    answer = client.post("/studies/digits/ask", content=b" " * (5 << 20))
    assert answer.status_code in (400, 404)
    assert answer.json()["error"] in ("InvalidArgument", "NotFound")


def test_the_same_study_over_grpc(client, server):
    post(client, "", NEW, 201)
    study = ph.Study("digits", storage=server.url)
    assert study.space.parameters.keys() == {"lr", "width"}
    trial = study.ask()
    study.tell(trial, score=1.0)
    assert client.get("/studies/digits").json()["status"]["best_score"] == 1.0


def test_each_change_is_an_entry_of_the_log_with_its_request(client, caplog):
    with caplog.at_level("INFO", logger="phyletic.service"):
        client.post("/studies", content=json.dumps(NEW), headers={"x-request-id": "mine-7"})
        post(client, "/digits/control", {"population": 3})
        post(client, "/digits/ask", {"worker": "w"})
    lines = [(entry.getMessage(), entry.audit["change"]) for entry in caplog.records if hasattr(entry, "audit")]
    assert [message for message, _ in lines] == [
        "CreateStudy of study 'digits': done",
        "Control of study 'digits': done",
    ]
    assert "population=3" in lines[1][1]
