#!/bin/sh
# What is done to the firmware of the one device that is there for it is written down in @STATE@/firmware.
log=/tmp/mlnx_fw_update.log
while [ $# -gt 0 ]; do
    case $1 in --log) log=$2; shift ;; --tmpdir | --fw-dir | --fw-image-dir) shift ;; esac
    shift
done
mkdir -p @STATE@
say() { echo "$1" | tee -a "$log"; }
: >"$log"
say "Attempting to perform Firmware update..."
case " @FAULTS@ " in
*" firmware-failed "*)
    say "The firmware for this device is not distributed inside Mellanox driver: 42:00.0 (PSID: LNV0000000049)"
    say "To obtain firmware for this device, please contact your HW vendor."
    say ""
    say "Failed to update Firmware."
    echo "See $log"
    echo "EXIT_STATUS: 1" >>"$log"
    echo failed >>@STATE@/firmware
    exit 1
    ;;
esac
say "Querying Mellanox devices firmware ..."
say "Updating FW ... Done"
say "Restart needed for updates to take effect."
echo "EXIT_STATUS: 0" >>"$log"
echo updated >>@STATE@/firmware
