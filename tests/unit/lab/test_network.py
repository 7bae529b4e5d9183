"""Choice of the subnet, firewall rules, the node's own network file."""

from __future__ import annotations

import configparser
import shlex
from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab import network
from lab.errors import LabError

IDS = st.text("0123456789abcdef", min_size=12, max_size=12)
NET = network.Network("gl-0123456789ab", ip_network("10.213.7.0/24"), "gpunode-lab-0123456789ab")


@given(IDS)
def test_a_lab_that_is_alone_always_gets_the_same_subnet(lab_id):
    chosen = network.choose_subnet(lab_id, None, [])
    assert chosen == network.choose_subnet(lab_id, None, [])
    assert chosen.subnet_of(network.SPACE)


@given(IDS, st.integers(0, 255))
def test_a_taken_subnet_makes_the_lab_take_the_next_one(lab_id, count):
    candidates = network.candidates(lab_id)
    assert network.choose_subnet(lab_id, None, candidates[:count]) == candidates[count]


def test_a_subnet_that_the_lab_has_stays_its_own():
    recorded = ip_network("10.213.9.0/24")
    assert network.choose_subnet("0" * 12, recorded, []) == recorded


def test_a_subnet_that_is_routed_elsewhere_by_now_is_given_up():
    recorded = ip_network("10.213.9.0/24")
    chosen = network.choose_subnet("0" * 12, recorded, [ip_network("10.213.9.128/25")])
    assert not chosen.overlaps(recorded)


def test_no_free_subnet_is_said():
    with pytest.raises(LabError, match="routes"):
        network.choose_subnet("0" * 12, None, [network.SPACE])


def test_routes_to_the_labs_own_bridge_and_the_default_route_take_nothing():
    routes = [
        {"dst": "default", "dev": "eth0"},
        {"dst": "10.213.7.0/24", "dev": NET.bridge},
        {"type": "local", "dst": "10.213.7.1", "dev": NET.bridge},
        {"dst": "10.213.8.0/24", "dev": "tun0"},
        {"type": "blackhole", "dst": "10.213.9.1"},
    ]
    assert network.routed(routes, NET.bridge) == [
        ip_network("10.213.8.0/24"),
        ip_network("10.213.9.1/32"),
    ]


def test_addresses_are_distinct_and_in_the_subnet():
    nodes = [NET.node_address(number) for number in range(1, network.MAX_NODES + 1)]
    assert len({NET.address, *nodes}) == network.MAX_NODES + 1
    assert ip_network(f"{nodes[-1]}/32").subnet_of(NET.subnet)
    assert nodes[-1] != str(NET.subnet.broadcast_address)


def test_every_rule_is_deleted_by_its_label_and_no_other_is():
    added = [
        shlex.join(["-A", chain, *arguments])
        for table, chain, arguments in network.rules(NET)
        if table == "filter"
    ]
    foreign = [
        "-P FORWARD DROP",
        '-A FORWARD -m comment --comment "gpunode-lab-another" -j ACCEPT',
        f"-A FORWARD -m comment --comment {NET.label}0 -j ACCEPT",
    ]
    deleted = network.deletions("\n".join(foreign + added), NET.label)
    assert [shlex.join(["-A", *rule[1:]]) for rule in deleted] == added
    assert all(rule[0] == "-D" for rule in deleted)


def test_confining_rules_go_by_a_label_of_their_own():
    added = [
        shlex.join(["-A", chain, *arguments])
        for _table, chain, arguments in network.confining_rules(NET, "10.213.7.11", 3128)
    ]
    own = f"{NET.label}-confined"
    assert network.deletions("\n".join(added), NET.label) == []
    assert len(network.deletions("\n".join(added), own)) == len(added)


def test_a_confined_node_is_left_one_port_and_the_answers_to_who_calls_it():
    rules = [arguments for _table, _chain, arguments in network.confining_rules(NET, "10.0.0.1", 9)]
    assert all(arguments[:4] == ["-i", NET.bridge, "-s", "10.0.0.1"] for arguments in rules)
    kept = [arguments for arguments in rules if arguments[-1] == "ACCEPT"]
    # Inserted one after the other, the last is asked first.
    assert rules[-len(kept) :] == kept
    assert [" ".join(arguments[4:8]) for arguments in kept] == [
        "-p tcp --dport 9",
        "-m conntrack --ctstate RELATED,ESTABLISHED",
    ]


def test_the_nodes_network_file_has_its_address_and_way_out():
    parser = configparser.ConfigParser()
    parser.optionxform = str
    parser.read_string(network.address_file("Name=host0", "10.213.7.11", NET))
    assert parser["Match"]["Name"] == "host0"
    assert parser["Network"]["Address"] == "10.213.7.11/24"
    assert parser["Network"]["Gateway"] == "10.213.7.1"


def test_kernel_hosts_have_addresses_that_no_node_has():
    numbers = range(1, network.MAX_KERNEL_HOSTS + 1)
    own = {NET.kernel_host_address(number) for number in numbers}
    # The guest comes after the last node.
    nodes = {NET.node_address(number) for number in range(1, network.MAX_NODES + 2)}
    assert len(own) == network.MAX_KERNEL_HOSTS
    assert not own & {*nodes, NET.address, str(NET.subnet.broadcast_address)}
