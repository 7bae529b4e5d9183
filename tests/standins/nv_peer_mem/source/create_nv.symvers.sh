#!/bin/bash
# Writes nv.symvers, with the faults of the real one; see README.md.
SCRIPTPATH=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
MOD_SYMVERS=${SCRIPTPATH}/nv.symvers
KVER=${1:-$(uname -r)}

echo -n "" > $MOD_SYMVERS

nvidia_mod=
for mod in nvidia $(find /lib/modules/$KVER -name "nvidia*.ko*" 2>/dev/null)
do
	nvidia_mod=$(/sbin/modinfo -F filename -k "$KVER" $mod 2>/dev/null)
	if [ ! -e "$nvidia_mod" ]; then
		continue
	fi
	if ! nm "$nvidia_mod" | grep -q -E "__crc_nvidia_p2p_|T nvidia_p2p_"; then
		continue
	fi
	echo "Getting symbol versions from $nvidia_mod ..."
	while read -r value _class name
	do
		echo -e "0x$value\t${name#__crc_}\t${nvidia_mod%.ko*}\tEXPORT_SYMBOL\t" >> $MOD_SYMVERS
	done < <(nm "$nvidia_mod" | grep __crc_nvidia_p2p_)
	echo "Created: ${MOD_SYMVERS}"
	exit 0
done

if [ ! -e "$nvidia_mod" ]; then
	echo "-E- Cannot locate nvidia modules!" >&2
	exit 1
fi

if [ ! -s "$MOD_SYMVERS" ]; then
	echo "-W- Could not get list of nvidia symbols." >&2
fi
