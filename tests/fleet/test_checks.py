"""The checks of each host, as `gpunode.stack.verify` makes them."""


def test_no_check_of_the_host_failed(host_checked):
    failed = [row for row in host_checked["checks"] if row["outcome"] == "failed"]
    assert [row for row in failed if row["severity"] != "warning"] == []
