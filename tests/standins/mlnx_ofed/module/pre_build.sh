#!/bin/sh
# Builds the modules, and leaves what others build with: wjz304/mlnx-ofed-kernel, ofed_scripts/pre_build.sh and
# dkms_ofed_post_build.sh.
set -e
kernel=$1 sources=$2 top=${3:-/usr/src/ofa_kernel}
make -C "$sources" M="$PWD" modules
headers=$top/@HEADERS@
headers=$(echo "$headers" | sed "s/KERNEL/$kernel/")
echo "Copying build sources from '$PWD' to '$headers' ..."
rm -rf "$headers"
mkdir -p "$headers"
cp -r include compat Module.symvers ofed_scripts "$headers"
link=/usr/src/ofa_kernel/default
if [ -z "$3" ] && [ "$headers" != $link ]; then
    update-alternatives --install $link ofa_kernel_headers "$headers" 17
fi
