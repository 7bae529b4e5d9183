"""A folder of a host is one that the host can have."""

import pytest

from ansible_collections.gpunode.stack.plugins.module_utils._node.refusal import Refusal
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.inputs import host_folder


def test_a_folder_is_taken_without_its_detours():
    assert host_folder.checked("dir", "/srv//a/../b/") == "/srv/b"
    assert host_folder.checked("dir", "/" + "n" * 255) == "/" + "n" * 255


@pytest.mark.parametrize(
    ("path", "because"),
    [
        ("srv/web", "not an absolute path"),
        ("/srv/" + "n" * 256, "has 256 bytes"),
        ("/srv/" + "ä" * 128, "has 256 bytes"),
        ("/srv" + "/n" * 2000, "it has 4004 bytes"),
        ("/srv/a\nb", "it has a character that does not print"),
        ("/srv/a\x1b[2J", "it has a character that does not print"),
        ("/srv/a\u202eb", "it has a character that does not print"),
        ("/proc/1/root/srv", "it is the kernel's"),
        ("/srv/../sys", "it is the kernel's"),
        ("/dev/shm/envs", "it is the kernel's"),
    ],
)
def test_what_no_host_can_have_is_refused(path, because):
    with pytest.raises(Refusal, match=because) as refused:
        host_folder.checked("conda_env_dir", path)
    assert refused.value.what.startswith("conda_env_dir ")
    assert len(str(refused.value)) < 700
