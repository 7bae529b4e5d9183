"""What somebody answers who has taken a host over: in shape, or not, and otherwise as it likes."""

from __future__ import annotations

import re
import typing

from hypothesis import strategies as st

from ansible_collections.gpunode.stack.plugins.module_utils._node import facts_shape

TEXTS = st.sampled_from(
    [
        *(
            "",
            " ",
            ".",
            "..",
            "-",
            "/",
            "//",
            "0",
            "-1",
            "1.",
            ".1",
            "1:",
            "~",
            "\n",
            "a\n9 hosts (a, b): converged\u2028",
            "\0",
            "\x1b[2J",
        ),
        *("a" * 5000, "9" * 400, "1." * 400, "{{ 7*7 }}", "{% raw %}", "../../etc", "/proc/self"),
        *("535.161.08", "999.1", "535", "580.65.06~rc1", "1:580.65.06-1ubuntu1", "535.161.08.1.2"),
        *("6.1.0-56-amd64", "5.14.0-427.el9.x86_64", "x86_64", "aarch64", "debian", "Debian", "12"),
        *(
            "10de:2330",
            "0000:3b:00.0",
            "mlnx_ofed",
            "doca",
            "inbox",
            "24.10-1.1.4.0",
            "dkms",
            "apt",
        ),
        *("nvidia", "nvidia_peermem", "nv_peer_mem", "ib_core", "enabled", "N/A", "None", "\ud800"),
    ]
) | st.text(max_size=20)
_MOST = 2**64 - 1
NUMBERS = st.sampled_from([-1, 0, 1, 2, 2**31, 2**63, -(2**63), _MOST]) | st.integers(-_MOST, _MOST)


def mangled(value, draw):
    """Return a value of the same shape, some of it otherwise."""
    if draw(st.integers(0, 3)):
        return _inside(value, draw)
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return draw(NUMBERS)
    if isinstance(value, str):
        return draw(TEXTS)
    return _inside(value, draw)


def _inside(value, draw):
    if isinstance(value, dict):
        return {key: mangled(item, draw) for key, item in value.items()}
    if isinstance(value, list):
        rows = [mangled(item, draw) for item in value]
        return rows[: draw(st.integers(0, len(rows)))] + rows[: draw(st.integers(0, 1))]
    return value


def answers_of(wanted):
    """Return a strategy of what has a shape, such as facts_shape.Facts."""
    if hasattr(wanted, "__total__"):
        fields = facts_shape.fields(wanted).items()
        return st.fixed_dictionaries({name: answers_of(field) for name, (field, _says) in fields})
    outer, inner = typing.get_origin(wanted) or wanted, typing.get_args(wanted)
    if outer is list:
        return st.lists(answers_of(inner[0]), max_size=3)
    if outer is dict:
        return st.dictionaries(TEXTS, answers_of(inner[1]), max_size=3)
    return {bool: st.booleans(), int: NUMBERS, str: TEXTS}.get(outer, ANY)


ANY = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.sampled_from([10**30, 10**400]) | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=10,
)
_OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\ud800-\udfff]")


def obeyed(text):
    """Say whether a terminal would obey something in a text."""
    return _OBEYED.search(text) is not None
