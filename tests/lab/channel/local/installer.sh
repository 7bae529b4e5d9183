#!/bin/sh
# A batch installer with the options of Miniforge's, for the lab: what follows the
# last line of this script is one program that carries every package.
set -eu

prefix="${HOME:-/opt}/miniforge3"
existing=refuse
while getopts bfhikmp:stu option; do
    case "$option" in
        f | u) existing=update ;;
        p) prefix="$OPTARG" ;;
        b | i | k | m | s | t) ;;
        *)
            echo "usage: $0 [-b] [-f] [-u] [-p PREFIX]" >&2
            exit 2
            ;;
    esac
done
if [ -e "$prefix" ] && [ "$existing" = refuse ]; then
    echo "ERROR: File or directory already exists: '$prefix'" >&2
    echo "If you want to update an existing installation, use the -u option." >&2
    exit 1
fi

# As Miniforge's does: its packages in its versions, and what lies beside them stays.
before=
if [ -e "$prefix/conda-meta" ]; then
    before="$prefix.before"
    mv "$prefix" "$before"
fi
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
sed '1,/^@@PROGRAM@@$/d' "$0" > "$work/miniforge-lab"
chmod +x "$work/miniforge-lab"
echo "PREFIX=$prefix"
HOME="$work" RATTLER_CACHE_DIR="$work/cache" MINIFORGE_LAB_PREFIX="$prefix" \
    MINIFORGE_LAB_OFFLINE=1 "$work/miniforge-lab" --version
if [ -n "$before" ]; then
    for beside in envs pkgs .condarc condarc.d pip.conf; do
        [ ! -e "$before/$beside" ] || { rm -rf "${prefix:?}/$beside" && mv "$before/$beside" "$prefix"; }
    done
    rm -rf "$before"
fi
mkdir -p "$prefix/envs" "$prefix/pkgs"
if [ ! -e "$prefix/.condarc" ]; then
    printf 'channels:\n  - conda-forge\n' > "$prefix/.condarc"
fi
echo "installation finished."
exit 0
@@PROGRAM@@
