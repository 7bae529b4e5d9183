"""Which part of what is asked for is another than the receipt says."""

from __future__ import annotations

import copy

import pytest

from ansible_collections.gpunode.stack.plugins.plugin_utils._controller import wanted_state
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.inputs import asked
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.plan import planner

OPTIONS = {
    "gunicorn_app_keep": 1,
    "gunicorn_app_list": [
        {"name": "web", "listen": "0.0.0.0:9001", "workers": 2},
        {"name": "db", "listen": "0.0.0.0:9002", "workers": 2},
    ],
}
ITEMS = [{"name": "web", "release": "r1"}, {"name": "db", "release": "r2"}]


def of(options=None, items=None, work="w1"):
    return asked.digests(options or OPTIONS, items or ITEMS, "application", work)


def changed(change):
    """Return what is said after a change of (options, items)."""
    options, items = copy.deepcopy(OPTIONS), copy.deepcopy(ITEMS)
    change(options, items)
    return asked.differences(of(), of(options, items))


CHANGES = {
    "nothing": (lambda options, items: None, []),
    "a setting of an item": (
        lambda options, items: options["gunicorn_app_list"][1].update(listen="0.0.0.0:1"),
        ["application db is asked for with other listen"],
    ),
    "a setting and what comes of it": (
        lambda options, items: (
            options["gunicorn_app_list"][0].update(workers=3, entry="m:a"),
            items[0].update(release="r3"),
        ),
        ["application web is asked for with other entry, workers"],
    ),
    "a file that an item names": (
        lambda options, items: items[0].update(release="r3"),
        ["application web is asked for with other content"],
    ),
    "its secrets": (
        lambda options, items: items[1].update(secrets_digest="s1"),
        ["application db is asked for with other secrets"],
    ),
    "a new item": (
        lambda options, items: (
            options["gunicorn_app_list"].append({"name": "new", "workers": 1}),
            items.append({"name": "new"}),
        ),
        ["application new is new"],
    ),
    "an item less": (
        lambda options, items: (options["gunicorn_app_list"].pop(), items.pop()),
        ["application db is not asked for any more"],
    ),
    "a setting of all": (
        lambda options, items: options.update(gunicorn_app_keep=2),
        ["another gunicorn_app_keep is asked for"],
    ),
    "as many settings as are shown": (
        lambda options, items: options["gunicorn_app_list"][0].update(dict.fromkeys("abcde", 1)),
        ["application web is asked for with other a, b, c, d, e"],
    ),
    "many settings": (
        lambda options, items: options["gunicorn_app_list"][0].update(dict.fromkeys("abcdefg", 1)),
        ["application web is asked for with other a, b, c, d, e and 2 more"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", CHANGES)
def test_what_is_asked_for_otherwise_is_named(kind):
    change, said = CHANGES[kind]
    assert changed(change) == said


def test_the_order_of_variables_is_no_difference():
    one, other = (
        {"gunicorn_app_list": [{"name": "web", "environment_variables": variables}]}
        for variables in ({"A": "1", "B": "2"}, {"B": "2", "A": "1"})
    )
    assert asked.differences(of(one), of(other)) == []


def test_another_version_of_this_project_is_told_where_nothing_else_is():
    told = ["this project does it otherwise than it did then"]
    assert asked.differences(of(), of(work="w2")) == told
    more = {**OPTIONS, "gunicorn_app_keep": 2}
    assert asked.differences(of(), of(more, work="w2")) == [
        "another gunicorn_app_keep is asked for"
    ]


def test_of_an_earlier_receipt_no_part_can_be_told():
    assert asked.differences({}, of()) == []
    receipt = {"digest": "d1", "drift": [], "asked": {}}
    assert planner.why_due("d2", receipt, of()) == [
        "something else is wanted than what the receipt names"
    ]
    named = {**receipt, "asked": of()}
    assert planner.why_due("d2", named, of(items=[ITEMS[0], {"name": "db"}])) == [
        "application db is asked for with other content"
    ]


def test_secrets_are_a_part_of_their_own_and_none_of_the_content():
    items = [ITEMS[0], {**ITEMS[1], "secrets_digest": "s1"}]
    before, now = of(), of(items=items)
    other = {part for part in before if before[part] != now[part]}
    assert other == {"application db: secrets"}


@pytest.mark.parametrize(
    ("component", "kind", "part"),
    [
        ("conda_env", "environments", "environment web: content"),
        ("gunicorn_app", "applications", "application web: content"),
    ],
)
def test_what_is_resolved_of_each_item_is_a_part(monkeypatch, component, kind, part):
    resolved = {kind: [{"name": "web", "digest": "1"}]}
    monkeypatch.setattr(wanted_state.Site, "wanted", lambda _site, _component: resolved)
    assert part in wanted_state.Site({}, "/").asked(component)


def test_an_option_that_says_nothing_is_no_part():
    parts = wanted_state.Site({}, "/").asked("miniforge")
    assert "miniforge_prefix" in parts
    assert "miniforge_pip_index_url" not in parts


def test_no_digest_of_a_secret_is_kept():
    gone = [{"name": "web", "state": "absent"}]
    secret = {"gunicorn_app_secrets": {"web": {"TOKEN": "hush"}}, "gunicorn_app_list": gone}
    assert "gunicorn_app_secrets" not in wanted_state.Site(secret, "/").asked("gunicorn_app")
    one, other = (
        {"miniforge_pip_index_url": f"https://bot:{password}@mirror.example/simple"}
        for password in ("hush", "hash")
    )
    assert wanted_state.Site(one, "/").asked("miniforge") == wanted_state.Site(other, "/").asked(
        "miniforge"
    )


def test_settings_of_what_is_made_of_no_items_are_named_too():
    before, now = (
        wanted_state.Site(said, "/").asked("miniforge")
        for said in ({}, {"miniforge_prefix": "/srv/conda", "miniforge_channels": ["own"]})
    )
    assert asked.differences(before, now) == [
        "another miniforge_channels is asked for", "another miniforge_prefix is asked for",
    ]  # fmt: skip
