"""What DKMS has, from small trees."""

from __future__ import annotations

from trees import looked_at

from ansible_collections.gpunode.stack.plugins.module_utils._node.kernel import dkms_status

K1, K2 = "6.1.0-40-amd64", "6.1.0-42-amd64"


def tree_of(name, version, made=(), installed=(), source=True):
    """Return the files and links of a tree of DKMS."""
    top = f"/var/lib/dkms/{name}"
    files = {f"/usr/src/{name}-{version}/dkms.conf": ""} if source else {}
    links = {f"{top}/{version}/source": f"/usr/src/{name}-{version}"}
    for kernel in made:
        files[f"{top}/{version}/{kernel}/x86_64/module/{name}.ko"] = ""
    for kernel in installed:
        links[f"{top}/kernel-{kernel}-x86_64"] = f"{version}/{kernel}/x86_64"
    return files, links


def states(files, links):
    rows = looked_at(dkms_status.survey, files, links)
    return [(row["name"], row["version"], row["kernel"], row["state"]) for row in rows]


def test_a_tree_of_dkms_is_added_built_or_installed():
    files, links = tree_of("nvidia", "535.161.08", made=[K1, K2], installed=[K1])
    assert states(files, links) == [
        ("nvidia", "535.161.08", K1, "installed"),
        ("nvidia", "535.161.08", K2, "built"),
    ]
    files, links = tree_of("nv_peer_mem", "1.1")
    assert states(files, links) == [("nv_peer_mem", "1.1", "", "added")]


def test_of_two_versions_the_one_is_installed_that_the_link_leads_to():
    old_files, old_links = tree_of("nvidia", "470.1", made=[K1])
    files, links = tree_of("nvidia", "535.1", made=[K1], installed=[K1])
    assert states({**old_files, **files}, {**old_links, **links}) == [
        ("nvidia", "470.1", K1, "built"),
        ("nvidia", "535.1", K1, "installed"),
    ]


def test_a_build_that_failed_is_not_built():
    files, links = tree_of("nvidia", "535.161.08")
    files[f"/var/lib/dkms/nvidia/535.161.08/{K1}/x86_64/log/make.log"] = "error"
    files["/var/lib/dkms/nvidia/535.161.08/build/make.log"] = "error"
    assert states(files, links) == [("nvidia", "535.161.08", "", "added")]


def test_a_tree_whose_source_is_gone_is_none_to_dkms():
    files, links = tree_of("nvidia", "535.161.08", made=[K1], source=False)
    assert states(files, links) == []


def test_a_tree_whose_source_is_gone_is_an_orphan_and_nothing_else_is():
    files, links = tree_of("nvidia", "535.161.08", made=[K1], source=False)
    own_files, own_links = tree_of("nvidia", "535.183.01", made=[K1], installed=[K1])
    before = {f"/var/lib/dkms/nvidia/original_module/{K1}/x86_64/nvidia.ko": ""}
    found = looked_at(dkms_status.orphans, {**files, **own_files, **before}, {**links, **own_links})
    assert found == [("nvidia", "535.161.08")]
