"""What an answer on the health path says, and what mends it."""

from __future__ import annotations

import pytest
from web_app import APP

from ansible_collections.gpunode.stack.plugins.module_utils._node.gunicorn_app import health
from ansible_collections.gpunode.stack.plugins.module_utils._node.system.http_probe import Answer

AT = "GET /healthz on 0.0.0.0:9001 answered"
# What Django, Starlette, Flask and their like answer: (answer, headers of the check, what is said).
ANSWERS = {
    "another host": (Answer(400), {}, "400: it may not serve the host localhost: say one"),
    "another host than was said": (Answer(400), {"host": "a.example"}, "not serve the host a.exam"),
    "another host than the header of it": (
        Answer(400), {"HOST": "a.example"}, "it may not serve the host a.example: say one",
    ),
    "misdirected": (Answer(421), {}, "421: it may not serve the host localhost"),
    "redirect to https": (
        Answer(301, location="https://localhost/healthz"), {}, "{X-Forwarded-Proto: https}",
    ),
    "redirect to https with a port": (
        Answer(308, location="https://localhost:443/healthz"), {}, "{X-Forwarded-Proto: https}",
    ),
    "redirect to a slash": (Answer(301, location="/healthz/"), {}, "say health_path: /healthz/"),
    "redirect to a slash by https": (
        Answer(301, location="https://x.example/healthz/"), {}, "say health_path: /healthz/",
    ),
    "redirect to a host": (
        Answer(302, location="http://www.a.example/healthz"), {}, "{Host: www.a.example}",
    ),
    "redirect to a host with a port": (
        Answer(302, location="http://www.a.example:80/healthz"), {}, "{Host: www.a.example}",
    ),
    "redirect to a login": (
        Answer(302, location="/login?next=/healthz"), {}, "leads to /login?next=/healthz: name a",
    ),
    "redirect to nonsense": (Answer(302, location="http://[::1/\n"), {}, "leads to http://[::1/?"),
    "login": (Answer(401), {}, "401: it asks for a login"),
    "forbidden": (Answer(403), {}, "403: it lets not everybody in"),
    "no such path": (Answer(404), {}, "404: name the path that it has with health_path"),
    "path that is gone": (Answer(410), {}, "410: name the path that it has with health_path"),
    "no GET": (Answer(405), {}, "405: name a health_path that can be read with GET"),
    "nothing to show": (Answer(204), {}, "204: name a health_path that answers 200"),
    "something made": (Answer(201, location="/jobs/7"), {}, "201: name a health_path that answers"),
    "broken": (Answer(500), {}, "500"),
    "not of the list": (Answer(599), {}, "599"),
}  # fmt: skip


@pytest.mark.parametrize("case", ANSWERS)
def test_an_answer_that_waiting_does_not_change_is_told_with_what_mends_it(case):
    answer, headers, said = ANSWERS[case]
    found = health.complaint({**APP, "health_headers": headers}, "0.0.0.0:9001", answer)
    assert found.startswith(f"{AT} {answer.status}")
    assert said in found
    assert health.is_definite(answer)
    assert found.isprintable()


def test_where_an_application_leads_to_is_told_with_a_bound():
    answer = Answer(302, location=f"/{'x' * 5000}")
    assert len(health.complaint(APP, "0.0.0.0:9001", answer)) < 400


@pytest.mark.parametrize(
    ("location", "said"),
    [("/healthz/", "say health_path: /healthz/"), ("https://a/healthz", "X-Forwarded-Proto")],
)
def test_what_is_asked_behind_a_path_makes_it_no_other_one(location, said):
    app = {**APP, "health_path": "/healthz?full=1"}
    assert said in health.complaint(app, "0.0.0.0:9001", Answer(301, location=location))


@pytest.mark.parametrize("status", [202, 408, 425, 429, 502, 503, 504])
def test_an_application_that_is_getting_ready_is_waited_for(status):
    assert not health.is_definite(Answer(status))


def test_no_answer_is_waited_for_and_a_good_one_is_no_complaint():
    assert not health.is_definite(Answer(0, "refused"))
    assert not health.is_definite(Answer(200))
    assert health.complaint(APP, "/run/a.sock", Answer(200)) == ""
    said = health.complaint(APP, "/run/a.sock", Answer(0, "refused"))
    assert said.endswith("gave no answer (refused)")
