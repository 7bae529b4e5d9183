"""What nvidia-smi says, from answers composed of the elements that its versions print.

Layouts: double_bit/total until R440 and Volta; {sram,dram}_uncorrectable with R460; with
sram_uncorrectable_parity, fabric and remapped_rows as R555 prints them.
"""

from __future__ import annotations

import subprocess

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trees import looked_at, planted

from ansible_collections.gpunode.stack.plugins.module_utils._node.gpu import nvidia_smi
from ansible_collections.gpunode.stack.plugins.module_utils._node.system.root import Root

LOADED = {"/proc/modules": "nvidia 56823808 10 nvidia_uvm, Live 0x0 (POE)\n"}


def xml(*gpus, driver="555.42.06", dtd="nvsmi_device_v12.dtd"):
    return (
        f'<?xml version="1.0" ?>\n<!DOCTYPE nvidia_smi_log SYSTEM "{dtd}">\n<nvidia_smi_log>\n'
        f"\t<timestamp>Mon Jul 15 13:41:56 2024</timestamp>\n"
        f"\t<driver_version>{driver}</driver_version>\n\t<cuda_version>12.5</cuda_version>\n"
        f"\t<attached_gpus>{len(gpus)}</attached_gpus>\n{''.join(gpus)}</nvidia_smi_log>\n"
    )


def gpu(*elements, address="00000000:3B:00.0", name="NVIDIA A100-SXM4-80GB"):
    return (
        f'\t<gpu id="{address}">\n<product_name>{name}</product_name>\n'
        f"{''.join(elements)}\n\t</gpu>\n"
    )


def answered(printed):
    return looked_at(nvidia_smi.survey, LOADED, answers={"nvidia-smi": printed})


def of_gpu(*elements, **options):
    facts = answered(xml(gpu(*elements, **options)))
    assert facts["answered"] is True
    (row,) = facts["gpus"]
    return row


def ended(tmp_path, status, output, errors=""):
    def run(argv, **_options):
        return subprocess.CompletedProcess(argv, status, output.encode(), errors.encode())

    planted(tmp_path, LOADED)
    return nvidia_smi.survey(Root(str(tmp_path), run))


def test_a_healthy_gpu_is_described():
    facts = answered(
        xml(
            gpu(
                "<gpu_virtualization_mode><virtualization_mode>None</virtualization_mode>"
                "</gpu_virtualization_mode>",
                "<ecc_errors><volatile><sram_uncorrectable_parity>0</sram_uncorrectable_parity>"
                "<dram_uncorrectable>0</dram_uncorrectable></volatile></ecc_errors>",
                "<retired_pages><pending_blacklist>N/A</pending_blacklist>"
                "<pending_retirement>N/A</pending_retirement></retired_pages>",
                "<remapped_rows><remapped_row_pending>No</remapped_row_pending>"
                "<remapped_row_failure>No</remapped_row_failure></remapped_rows>",
                "<fabric><state>Completed</state><status>Success</status></fabric>",
            )
        )
    )
    assert facts == {
        "asked": True,
        "answered": True,
        "says": "",
        "driver_version": "555.42.06",
        "cuda_version": "12.5",
        "gpus": [
            {
                "address": "0000:3b:00.0",
                "name": "NVIDIA A100-SXM4-80GB",
                "mode": "none",
                "license": "",
                "ecc_uncorrected": 0,
                "retirement_pending": False,
                "remapping_failed": False,
                "sram_exceeded": False,
                "fabric_state": "Completed",
                "fabric_status": "Success",
                "fabric_health": "",
                "recovery_action": "",
                "complaints": [],
            }
        ],
    }


@pytest.mark.parametrize(
    ("mode", "fact"),
    [("None", "none"), ("Pass-Through", "passthrough"), ("VGPU", "vgpu"), ("Host VGPU", ""),
     ("N/A", "")],
)  # fmt: skip
def test_the_mode_is_told(mode, fact):
    element = f"<virtualization_mode>{mode}</virtualization_mode>"
    row = of_gpu(f"<gpu_virtualization_mode>{element}</gpu_virtualization_mode>")
    assert row["mode"] == fact


@pytest.mark.parametrize("product", ["vgpu_software_licensed_product", "grid_licensed_product"])
@pytest.mark.parametrize(
    "status", ["Licensed (Expiry: 2026-7-7 16:1:44 GMT)", "Unlicensed (Restricted)", "Licensed"]
)
def test_the_license_is_told_under_its_old_and_its_new_name(product, status):
    row = of_gpu(f"<{product}><license_status>{status}</license_status></{product}>")
    assert row["license"] == status


@pytest.mark.parametrize(
    ("volatile", "count"),
    [
        ("<single_bit><total>9</total></single_bit><double_bit><device_memory>2</device_memory>"
         "<total>3</total></double_bit>", 3),
        ("<double_bit><total>N/A</total></double_bit>", 0),
        ("<sram_correctable>9</sram_correctable><sram_uncorrectable>1</sram_uncorrectable>"
         "<dram_correctable>9</dram_correctable><dram_uncorrectable>4</dram_uncorrectable>", 5),
        ("<sram_uncorrectable_parity>1</sram_uncorrectable_parity>"
         "<sram_uncorrectable_secded>2</sram_uncorrectable_secded>"
         "<dram_uncorrectable>4</dram_uncorrectable>", 7),
    ],
)  # fmt: skip
def test_uncorrected_errors_are_counted_in_each_layout(volatile, count):
    aggregate = volatile.replace(">1<", ">100<").replace(">3<", ">100<")
    row = of_gpu(
        f"<ecc_errors><volatile>{volatile}</volatile><aggregate>{aggregate}</aggregate></ecc_errors>"
    )
    assert row["ecc_uncorrected"] == count


@pytest.mark.parametrize(
    "element",
    [
        "<retired_pages><pending_blacklist>Yes</pending_blacklist></retired_pages>",
        "<retired_pages><pending_retirement>Yes</pending_retirement></retired_pages>",
        "<remapped_rows><remapped_row_pending>Yes</remapped_row_pending></remapped_rows>",
        "<ecc_errors><channel_repair_pending>Yes</channel_repair_pending></ecc_errors>",
        "<ecc_errors><tpc_repair_pending>Yes</tpc_repair_pending></ecc_errors>",
    ],
)
def test_a_retirement_that_waits_for_a_reset_is_told(element):
    assert of_gpu(element)["retirement_pending"] is True
    assert of_gpu(element.replace("Yes", "No"))["retirement_pending"] is False


def test_a_failed_remapping_is_told():
    failure = "<remapped_row_failure>Yes</remapped_row_failure>"
    assert of_gpu(f"<remapped_rows>{failure}</remapped_rows>")["remapping_failed"] is True
    assert of_gpu("<remapped_rows>N/A</remapped_rows>")["remapping_failed"] is False


def test_more_errors_of_a_cache_than_the_vendor_accepts_are_told():
    counts = "<aggregate><sram_threshold_exceeded>{}</sram_threshold_exceeded></aggregate>"
    for word, is_so in (("Yes", True), ("No", False), ("N/A", False)):
        row = of_gpu(f"<ecc_errors>{counts.format(word)}</ecc_errors>")
        assert row["sram_exceeded"] is is_so


@pytest.mark.parametrize("action", ["None", "Reset", "Reboot", "Drain P2P", "Drain and Reset"])
def test_what_a_gpu_waits_for_is_told(action):
    element = f"<gpu_recovery_action>{action}</gpu_recovery_action>"
    assert of_gpu(element)["recovery_action"] == action


def test_a_driver_that_knows_of_no_recovery_tells_none():
    assert of_gpu("<gpu_recovery_action>N/A</gpu_recovery_action>")["recovery_action"] == ""


DEPRECATED = "Requested functionality has been deprecated"


# As R525 to R560 have it, which know of no gpu_recovery_action.
@pytest.mark.parametrize(
    ("needs_reset", "is_to_drain", "action"),
    [
        ("No", "No", ""),
        ("Yes", "No", "Reset"),
        ("No", "Yes", "Drain and Reset"),
        ("Yes", "N/A", "Reset"),
        ("N/A", "N/A", ""),
        (DEPRECATED, DEPRECATED, ""),
    ],
)
def test_what_a_gpu_waits_for_is_told_as_well_by_drivers_before_they_had_a_word_for_it(
    needs_reset, is_to_drain, action
):
    status = (
        f"<gpu_reset_status><reset_required>{needs_reset}</reset_required>"
        f"<drain_and_reset_recommended>{is_to_drain}</drain_and_reset_recommended>"
        "</gpu_reset_status>"
    )
    assert of_gpu(status)["recovery_action"] == action
    assert of_gpu(status, "<gpu_recovery_action>Reboot</gpu_recovery_action>")[
        "recovery_action"
    ] == ("Reboot")


@pytest.mark.parametrize(
    ("health", "told"),
    [
        ("<bandwidth>N/A</bandwidth>", ""),
        ("<summary>N/A</summary><bandwidth>N/A</bandwidth>", ""),
        ("<summary>Healthy</summary><bandwidth>Full</bandwidth>", "Healthy"),
        ("<summary>Unhealthy</summary>", "Unhealthy"),
        ("Unhealthy", "Unhealthy"),
        ("<summary>Limited Capacity</summary><bandwidth>Degraded</bandwidth>",
         "Limited Capacity, bandwidth Degraded"),
        ("<bandwidth>Full</bandwidth><route_unhealthy>True</route_unhealthy>",
         "Unhealthy, route_unhealthy True"),
    ],
)  # fmt: skip
def test_how_the_fabric_is_and_what_is_wrong_with_it_is_told(health, told):
    row = of_gpu(f"<fabric><state>Completed</state><health>{health}</health></fabric>")
    assert row["fabric_health"] == told


@pytest.mark.parametrize(
    "words",
    ["GPU is lost", "[GPU is lost]", "GPU requires reset", "[Unknown Error]", "Unknown Error",
     "ERR!", "[GPU requires reset]", "Insufficient External Power", "GPU requires restart",
     "GPU is lost.", "Corrupted infoROM", "[GPU access blocked by the operating system]"],
)  # fmt: skip
def test_what_stands_in_place_of_values_is_told_once(words):
    row = of_gpu(
        f"<serial>{words}</serial><temperature><gpu_temp>{words}</gpu_temp></temperature>",
        name=words,
    )
    assert row["complaints"] == [words.strip("[].")]
    assert row["name"] == ""


@pytest.mark.parametrize(
    "element",
    [
        "<product_brand>Unknown</product_brand>",
        "<processes><process_name>GPU is lost</process_name></processes>",
        "<uuid>GPU-lost</uuid>",
        "<clocks>[N/A]</clocks>",
    ],
)
def test_what_a_healthy_gpu_or_its_processes_are_called_is_no_complaint(element):
    assert of_gpu(element)["complaints"] == []


@pytest.mark.parametrize(
    "name",
    ["a\x01b", "a\0b", "R&D", "a & b", "a <b> c", "a<b", "1 > 0 && <", "\x1b[31m", "a\ufffeb",
     "</process_name>", "<!ENTITY x>", "</nvidia_smi_log>", "&#0;", "line\nbreak & more",
     " begins & ends with blanks ", "\tR&D", "a</process_name>\nb", "<!--", "<![CDATA[", "<?",
     "a</process_name></process_info></processes><ecc_errors><volatile>"],
)  # fmt: skip
def test_whatever_a_process_is_called_the_rest_is_read(name):
    process = (
        "\t\t<processes>\n\t\t\t<process_info>\n\t\t\t\t<pid>7</pid>\n"
        f"\t\t\t\t<process_name>{name}</process_name>\n\t\t\t</process_info>\n\t\t</processes>"
    )
    facts = answered(xml(gpu(process), gpu(address="00000000:5E:00.0")))
    assert facts["answered"], facts["says"]
    assert [row["address"] for row in facts["gpus"]] == ["0000:3b:00.0", "0000:5e:00.0"]


FORGED = "a</process_name></process_info></processes>{}<processes><process_info><process_name>b"


def named(name):
    return (
        f"<processes>\n<process_info>\n<process_name>{name}</process_name>\n</process_info>\n"
        "</processes>\n"
    )


def test_no_process_says_by_its_name_how_its_gpu_is():
    says = "<gpu_recovery_action>Reset</gpu_recovery_action><ecc_errors>GPU is lost</ecc_errors>"
    row = of_gpu(named(FORGED.format(says)))
    assert (row["recovery_action"], row["complaints"]) == ("", [])


def test_no_process_is_a_gpu_by_its_name():
    another = "</gpu>" + gpu(address="00000000:5E:00.0").replace("</gpu>", "")
    facts = answered(xml(gpu(named(FORGED.format(another)))))
    assert (facts["answered"], facts["gpus"]) == (False, [])
    assert "it has 2 GPUs where 1 are attached" in facts["says"]


def test_a_bad_byte_in_any_value_costs_that_value_alone():
    elements = "\n<serial>\x07 & <</serial>\n<gpu_recovery_action>Reset</gpu_recovery_action>\n"
    assert of_gpu(elements)["recovery_action"] == "Reset"


def test_all_gpus_are_told_with_addresses_as_sysfs_writes_them():
    addresses = ["00000000:3B:00.0", "00010000:01:00.0", "0:1:0"]
    facts = answered(xml(*(gpu(address=address) for address in addresses)))
    told = [row["address"] for row in facts["gpus"]]
    assert told == ["0000:3b:00.0", "10000:01:00.0", ""]


def test_it_is_not_asked_where_the_module_is_not_loaded(tmp_path):
    def run(argv, **_options):
        raise AssertionError(argv)

    planted(tmp_path, {"/proc/modules": "nouveau 1 0 - Live 0x0\n"})
    facts = nvidia_smi.survey(Root(str(tmp_path), run))
    assert (facts["asked"], facts["answered"], facts["says"]) == (False, False, "")


@pytest.mark.parametrize(
    ("status", "output", "says"),
    [
        (18, "Failed to initialize NVML: Driver/library version mismatch\n"
         "NVML library version: 550.107\n",
         "Failed to initialize NVML: Driver/library version mismatch / "
         "NVML library version: 550.107"),
        (9, "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. Make "
         "sure that the latest NVIDIA driver is installed and running.\n\n",
         "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. Make "
         "sure that the latest NVIDIA driver is installed and running."),
        (1, "", "nothing, and ended with status 1"),
    ],
)  # fmt: skip
def test_what_it_prints_instead_of_an_answer_is_told(tmp_path, status, output, says):
    facts = ended(tmp_path, status, output)
    assert (facts["asked"], facts["answered"], facts["says"]) == (True, False, says)


def test_what_it_prints_to_the_other_output_is_told(tmp_path):
    assert ended(tmp_path, 127, "", "libnvidia-ml.so.1: not found\n")["says"].startswith("libnv")


def test_a_program_that_is_missing_is_told():
    facts = looked_at(nvidia_smi.survey, LOADED)
    assert (facts["asked"], facts["answered"], facts["says"]) == (True, False, "nvidia-smi")


def test_no_answer_in_time_is_told(tmp_path):
    def run(argv, **options):
        raise subprocess.TimeoutExpired(argv, options["timeout"])

    planted(tmp_path, LOADED)
    facts = nvidia_smi.survey(Root(str(tmp_path), run))
    assert (facts["answered"], facts["says"]) == (False, "no answer within 10 s")


def test_warnings_around_an_answer_do_no_harm(tmp_path):
    printed = f"WARNING: something\n{xml(gpu())}WARNING: infoROM is corrupted at gpu 0000:3B:00.0\n"
    facts = ended(tmp_path, 14, printed)
    assert (facts["answered"], len(facts["gpus"])) == (True, 1)


def test_an_answer_that_breaks_off_is_none():
    whole = xml(gpu("<fabric><state>Completed</state></fabric>"))
    for length in range(len('<?xml version="1.0" ?>'), len(whole) - len("</nvidia_smi_log>\n")):
        facts = answered(whole[:length])
        assert (facts["answered"], facts["gpus"]) == (False, [])
        assert facts["says"].startswith("an answer that cannot be read: ")


@pytest.mark.parametrize(
    "words",
    [
        "Unable to determine the device handle for GPU0000:C8:00.0: GPU is lost.",
        "Unable to determine the device handle for GPU1: 0000:C8:00.0: Unknown Error",
    ],
)
def test_the_words_that_an_answer_breaks_off_with_are_told(words):
    begun = xml(gpu()).partition("\t</gpu>")[0]
    facts = answered(f"{begun}\n{words}\n")
    assert facts["answered"] is False
    assert facts["says"].endswith(f": {words}")


def test_a_line_of_an_answer_is_not_taken_for_such_words():
    says = answered(xml(gpu()).partition("\t</gpu>")[0])["says"]
    assert "product_name" not in says


def test_an_answer_that_declares_entities_is_refused():
    bomb = '<!DOCTYPE nvidia_smi_log [<!ENTITY a "x"><!ENTITY b "&a;&a;">]>'
    printed = xml(gpu(name="&b;")).replace(
        '<!DOCTYPE nvidia_smi_log SYSTEM "nvsmi_device_v12.dtd">', bomb
    )
    facts = answered(printed)
    assert facts["says"] == "an answer that cannot be read: it declares entities"


def test_another_document_is_no_answer():
    assert answered('<?xml version="1.0" ?>\n<html/>')["answered"] is False


@settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow])
@given(st.binary(max_size=300), st.integers(0, 900))
def test_rubbish_in_an_answer_is_no_error(rubbish, place):
    whole = xml(gpu("<ecc_errors><volatile>1</volatile></ecc_errors>")).encode()
    for printed in (rubbish, whole[:place] + rubbish + whole[place:]):
        assert answered(printed)["asked"] is True
