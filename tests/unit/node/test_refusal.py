"""What is refused: all of it at once, each thing once."""

from __future__ import annotations

import pytest

from ansible_collections.gpunode.stack.plugins.module_utils._node.refusal import (
    Collected,
    Refusal,
    Refusals,
    refuse,
)

ONE, OTHER, THIRD = (Refusal(what, "it is bad", "Mend it") for what in ("one", "other", "third"))


def refused(refusal):
    raise refusal


def test_one_refusal_is_raised_as_it_is():
    with pytest.raises(Refusal) as raised:
        refuse([ONE])
    assert raised.value is ONE
    assert ONE.each() == [ONE]


def test_several_are_one_text_with_each_of_them_in_its_order():
    with pytest.raises(Refusal) as raised:
        refuse(iter([ONE, OTHER]))
    assert raised.value.each() == [ONE, OTHER]
    assert str(raised.value) == "one: it is bad. Mend it\nother: it is bad. Mend it"


def test_none_is_no_refusal():
    refuse([])
    collected = Collected()
    assert collected.ask(len, "abc") == 3
    collected.refuse()


def test_what_is_refused_on_the_way_is_raised_in_the_end_each_text_once():
    collected = Collected()
    assert collected.ask(refused, ONE) is None
    assert collected.ask(refused, Refusals([OTHER, Refusals([THIRD, OTHER])])) is None
    assert collected.ask(refused, Refusal("one", "it is bad", "Mend it")) is None
    with pytest.raises(Refusals) as raised:
        collected.refuse()
    assert raised.value.each() == [ONE, OTHER, THIRD]


def test_what_is_no_refusal_is_not_collected():
    with pytest.raises(ValueError, match="broken"):
        Collected().ask(refused, ValueError("broken"))


@pytest.mark.parametrize("part", range(3))
@pytest.mark.parametrize("order", ["\x1b[2J", "\x9b2J", "\r", "\0", "\x7f", "\u202e", "\udc9b"])
def test_what_it_quotes_moves_no_cursor(order, part):
    parts = ["what", "because", "remedy"]
    parts[part] += f"{order}more\tand\nmore"
    shown = str(Refusal(*parts))
    assert order not in shown
    assert "more\tand\nmore" in shown
    assert order.encode("unicode_escape", "surrogatepass").decode() in shown
