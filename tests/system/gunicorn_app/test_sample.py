"""The sample application on a node: real images in, real answers out."""

from __future__ import annotations

import json
import struct
import urllib.error
import urllib.request
import zlib

import pytest

from system import environments, playbooks

pytestmark = pytest.mark.lab

WIDTH, HEIGHT = 200, 100
# (left, top, width, height, grey value)
SQUARES = [(10, 10, 30, 20, 220), (100, 50, 50, 40, 180)]


def png():
    """Return a grey PNG with bright squares on black, made by hand."""
    rows = [bytearray(WIDTH) for _row in range(HEIGHT)]
    for left, top, width, height, grey in SQUARES:
        for row in rows[top : top + height]:
            row[left : left + width] = bytes([grey]) * width
    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, 8, 0, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + row for row in rows))
    chunks = [(b"IHDR", header), (b"IDAT", pixels), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


@pytest.fixture(scope="module")
def address(lab, tmp_path_factory):
    """Where the sample answers on a converged node."""
    environments.fresh(lab, "node1")
    run = playbooks.site("--limit", "node1", log=tmp_path_factory.mktemp("sample") / "ssh")
    assert run.status == 0, run.messages()
    return f"http://{lab.nodes[0].address}:9001"


def ask(url, body=None, **headers):
    with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=10) as answer:
        return answer.read(), answer.headers["Content-Type"]


def test_it_says_that_it_is_online(address):
    assert ask(f"{address}/")[0] == b"ob cuda server online!"


def test_it_says_what_it_runs_on(address):
    found = json.loads(ask(f"{address}/healthz")[0])
    assert found["host"] == "node1"
    assert found["prefix"].startswith("/opt/gpunode/envs/ob_cuda-")
    assert found["release"].startswith("/srv/ob_cuda/releases/")
    assert found["device"] == "cpu"


def test_it_finds_the_objects_in_an_image(address):
    found = json.loads(ask(f"{address}/segment", png())[0])
    assert (found["width"], found["height"]) == (WIDTH, HEIGHT)
    assert found["sizes"] == [2000, 600]
    assert found["count"] == 2
    assert found["device"] == "cpu"


def test_it_gives_the_mask_as_an_image(address):
    mask, kind = ask(f"{address}/segment", png(), Accept="image/png")
    assert kind == "image/png"
    again = json.loads(ask(f"{address}/segment", mask)[0])
    assert again["sizes"] == [2000, 600]


@pytest.mark.parametrize("body", [b"", b"no image", png()[:60]])
def test_what_is_no_image_is_refused(address, body):
    with pytest.raises(urllib.error.HTTPError) as refused:
        ask(f"{address}/segment", body)
    assert refused.value.code == 415
    assert "image" in json.loads(refused.value.read())["error"]
    refused.value.close()
