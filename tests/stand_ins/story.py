"""Plays the recorded calls against a live server, in order, with the same people and the same numbers."""

from __future__ import annotations

import io
import random
from collections.abc import Iterator
from typing import Any

import requests
from PIL import Image

from tests.stand_ins.deployment import Cvat, Http, wait_until
from tests.stand_ins.recording import HEADERS, UNFINISHED, Exchange, Reply

LAB = ("lab", "of the administrator")
NEWCOMER = ("rec1795343051", "of the newcomer")
MEMBER = ("recpw1795346326", "of the member")
MEMBER_LATER = (MEMBER[0], "of the member, changed")
STRANGER = ("lab", "wrong")

# The recordings name the scheme of each call only; this is who spoke where it was not the administrator.
SPEAKERS = {
    ("auth", 1): STRANGER,
    **{("users", number): NEWCOMER for number in (2, 3, 4, 5)},
    **{("organization", number): MEMBER_LATER for number in (1, 2, 3, 5, 6, 7, 10)},
}
# Which of the earlier replies gave the token of a call; None for a token that does not exist.
TOKENS: dict[tuple[str, int], tuple[str, int] | None] = {
    ("auth", 3): ("auth", 2),
    ("auth", 4): None,
    ("auth", 6): ("auth", 2),
    **{("tokens", number): ("tokens", 0) for number in (2, 3, 4)},
    **{("tokens", number): ("tokens", 1) for number in (5, 6, 7, 8)},
    ("tokens", 10): None,
    ("tokens", 13): ("tokens", 1),
    **{("password", number): ("password", 1) for number in (2, 3, 6)},
}
# What stands where the recordings say PASSWORD.
PASSWORDS = {
    ("register", 0): {"password1": NEWCOMER[1], "password2": NEWCOMER[1]},
    ("password", 0): {"password1": MEMBER[1], "password2": MEMBER[1]},
    ("password", 1): {"password": MEMBER[1]},
    ("password", 2): {"new_password1": MEMBER_LATER[1], "new_password2": MEMBER_LATER[1]},
    ("password", 3): {
        "old_password": MEMBER[1],
        "new_password1": MEMBER_LATER[1],
        "new_password2": MEMBER_LATER[1],
    },
    ("password", 4): {"password": MEMBER[1]},
    ("password", 5): {"password": MEMBER_LATER[1]},
}
# The one write with a cookie that says no CSRF token.
WITHOUT_CSRF = ("session_cookie", 3)

# The number that the next object of each table gets, as on the server that was recorded, before a subject.
NUMBERS = {
    "": {"auth_user": 3, "engine_project": 34, "cvat_stand_in_organization": 2},
    "server": {
        "auth_user": 4,
        "engine_project": 48,
        "engine_task": 44,
        "engine_data": 43,
        "engine_job": 144,
        "cvat_stand_in_label": 91,
        "engine_labeledshape": 108,
    },
    "tokens": {
        "auth_user": 5,
        "engine_project": 84,
        "cvat_stand_in_accesstoken": 5,
        "cvat_stand_in_organization": 4,
        "cvat_stand_in_membership": 4,
    },
}


def picture(seed: int) -> bytes:
    """A frame of the recorded size, as PNG."""
    file = io.BytesIO()
    Image.frombytes("RGB", (160, 120), random.Random(seed).randbytes(160 * 120 * 3)).save(file, "PNG")
    return file.getvalue()


Files = list[tuple[str, tuple[str, bytes]]]


def frames(count: int) -> Files:
    return [(f"client_files[{number}]", (f"frame_{number:02}.png", picture(number))) for number in range(count)]


UPLOADS: dict[tuple[str, int], tuple[dict[str, str], Files]] = {
    ("sdk_task", 4): ({}, frames(3)),
    ("multipart_upload", 1): ({"image_quality": "70"}, frames(3)),
    ("errors", 11): ({"image_quality": "70"}, [("client_files[0]", ("a.png", b"no picture"))]),
    ("errors", 13): ({"image_quality": "101"}, frames(1)),
}


class Story:
    """The calls, one after the other; what a later one needs of an earlier reply is kept."""

    def __init__(self, cvat: Cvat) -> None:
        self.cvat = cvat
        self.client = Http(cvat.url)
        self.client.headers["host"] = "cvat.example:8080"
        self.replies: dict[tuple[str, int], Reply] = {}

    def play(self, exchanges: list[Exchange]) -> Iterator[tuple[Exchange, Reply]]:
        """Makes each call and gives the live reply beside the recorded one."""
        self.prepare()
        subject = ""
        for exchange in exchanges:
            if exchange.subject != subject:
                subject = exchange.subject
                self.begin(subject)
            reply = self.speak(exchange)
            self.replies[exchange.subject, exchange.number] = reply
            yield exchange, reply

    def number(self, subject: str) -> None:
        restart = "ALTER SEQUENCE {}_id_seq RESTART WITH {}"
        self.cvat.sql("; ".join(restart.format(*item) for item in NUMBERS.get(subject, {}).items()))

    def prepare(self) -> None:
        """What the recorded server held before: a project with tasks, one more user, a token and an organization."""
        self.cvat.make_superuser(*LAB)
        self.number("")

        def post(path: str, **content: Any) -> Any:
            answer = self.client.post(path, **content)
            assert answer.ok, answer.text
            return answer.json()

        post("/api/auth/login", json={"username": LAB[0], "password": LAB[1]})
        another = {
            "username": "rec1795342964",
            "email": "rec1795342964@example.org",
            "first_name": "R",
            "last_name": "C",
        }
        post("/api/auth/register", json={**another, "password1": NEWCOMER[1], "password2": NEWCOMER[1]})
        self.client.cookies.clear()
        post("/api/auth/access_tokens", json={"name": "t"}, auth=LAB)
        post("/api/organizations", json={"slug": "recorg", "name": "Rec"}, auth=LAB)
        project = post("/api/projects", json={"name": "MONAILabel", "labels": [{"name": "Tool"}]}, auth=LAB)["id"]
        for _ in range(3):
            spec = {"name": "before", "project_id": project, "subset": "Train"}
            task = post("/api/tasks", json=spec, auth=LAB)["id"]
            upload = post(f"/api/tasks/{task}/data", data={"image_quality": "70"}, files=frames(1), auth=LAB)
            self.finished(f"/api/requests/{upload['rq_id']}", auth=LAB)

    def begin(self, subject: str) -> None:
        """Each subject was recorded by a client of its own, and some on a later server."""
        self.client.cookies.clear()
        if subject == "tokens":
            assert self.client.delete("/api/projects/34", auth=LAB).status_code == 204
        if subject in NUMBERS:
            self.number(subject)

    def speak(self, exchange: Exchange) -> Reply:
        request, place = exchange.request, (exchange.subject, exchange.number)
        path = request["path"]
        if "/KEY/" in path:
            path = path.replace("KEY", self.replies["organization", 4].body["key"])
        if exchange.polled and not exchange.unfinished:
            return reply_of(self.finished(path, **self.identity(exchange)))
        headers = {key: value for key, value in request["headers"].items() if key != "content-type"}
        content: dict[str, Any] = {}
        if place in UPLOADS:
            content["data"], content["files"] = UPLOADS[place]
        elif isinstance(request["body"], str):
            content["data"] = request["body"]
        elif request["body"] is not None:
            content["json"] = self.body(exchange)
        if "files" not in content and "content-type" in request["headers"]:
            headers["content-type"] = request["headers"]["content-type"]
        identity = self.identity(exchange)
        identity["headers"] = headers | identity.get("headers", {})
        return reply_of(self.client.request(request["method"], path, **content, **identity))

    def body(self, exchange: Exchange) -> Any:
        body = exchange.request["body"]
        if not isinstance(body, dict):
            return body
        given = PASSWORDS.get((exchange.subject, exchange.number), {"password": LAB[1]})
        return {key: given.get(key, value) if value == "PASSWORD" else value for key, value in body.items()}

    def identity(self, exchange: Exchange) -> dict[str, Any]:
        """How the call says who makes it."""
        place, scheme = (exchange.subject, exchange.number), exchange.request["auth"]
        if scheme == "Basic":
            return {"auth": SPEAKERS.get(place, LAB)}
        if scheme is not None:
            source = TOKENS[place]
            body = self.replies[source].body if source else {"key": "0" * 40}
            return {"headers": {"authorization": f"{scheme} {body.get('value', body.get('key'))}"}}
        csrf = self.client.cookies.get("csrftoken")
        return {"headers": {"x-csrftoken": csrf}} if csrf and place != WITHOUT_CSRF else {}

    def finished(self, path: str, **identity: Any) -> requests.Response:
        """Asks until the background work is done."""
        answers: list[requests.Response] = []

        def done() -> bool:
            answers.append(self.client.get(path, **identity))
            return answers[-1].json()["status"] not in UNFINISHED

        wait_until(done, 30, f"{path} is finished")
        return answers[-1]


def reply_of(answer: requests.Response) -> Reply:
    """The live reply, its body as the recordings would hold it."""
    headers = {name: answer.headers[name] for name in HEADERS if name in answer.headers}
    kind = answer.headers.get("content-type", "")
    body: Any = answer.content or None
    if "json" in kind:
        body = answer.json()
    elif body is not None and kind.startswith("text/") and not body.lstrip().startswith(b"<"):
        body = answer.text
    return Reply(answer.status_code, headers, body)
