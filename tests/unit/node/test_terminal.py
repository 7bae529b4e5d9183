"""What a terminal obeys is spelled out, wherever it stands."""

from __future__ import annotations

import sys

from ansible_collections.gpunode.stack.plugins.module_utils._node import terminal

# C0 but for tab and line end, DEL and C1; ends of lines and turns of direction; lone surrogates.
OBEYED = [
    *(code for code in range(0x20) if chr(code) not in "\t\n"),
    *range(0x7F, 0xA0),
    *range(0x2028, 0x202F),
    *range(0x2066, 0x206A),
    *range(0xD800, 0xE000),
]


def test_each_character_that_a_terminal_obeys_is_spelled_out_and_no_other():
    changed = [
        code
        for code in range(sys.maxunicode + 1)
        if terminal.without_orders(f"a{chr(code)}") != f"a{chr(code)}"
    ]
    assert changed == OBEYED


def test_one_that_stands_among_others_is_found():
    assert terminal.without_orders("é\x1b[31m日本\n") == "é\\x1b[31m日本\n"
    assert terminal.one_line("é\x1b[31m日本\n") == "é\\x1b[31m日本\\n"
