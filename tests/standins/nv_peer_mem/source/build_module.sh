#!/bin/sh
# Packs the sources, for Debian or as a source package of RPM, and says where; see README.md.
version=$(awk '/^Version:/ { print $2 }' *.spec)
release=$(sed -n 's/.*define _release \([0-9]*\)}.*/\1/p' *.spec)
if [ -z "$version" ] || [ -z "$release" ]; then
	echo "Failed to get version numbers!" >&2
	exit 1
fi
work=$(mktemp -d /tmp/nv.XXXXXX) || exit 1

pack()
{
	cp -r . "$work/$1" && tar -C "$work" -czf "$work/$2" --exclude='.*' "$1" || exit 1
}

if [ -f /etc/debian_version ]; then
	built=nvidia-peer-memory_$version.orig.tar.gz
	pack "nvidia-peer-memory-$version" "$built"
	mv "$work/$built" /tmp
else
	pack "nvidia_peer_memory-$version" "nvidia_peer_memory-$version.tar.gz"
	if ! rpmbuild -ts --nodeps --define "_topdir $work/topdir" --define 'dist %{nil}' \
		"$work/nvidia_peer_memory-$version.tar.gz" >/dev/null; then
		echo "Failed to execute: rpmbuild" >&2
		exit 1
	fi
	built=$(ls "$work/topdir/SRPMS")
	mv "$work/topdir/SRPMS/$built" /tmp
fi
echo "Built: /tmp/$built"
rm -rf "$work"
