#!/bin/sh
CRCsum=0000000000
MD5=00000000000000000000000000000000
skip=@SKIP@
skip_decompress=@SKIP@
size_decompress=0
label="@LABEL@"
version_string=@VERSION@
pkg_version=@VERSION@
script=./nvidia-installer
targetdir=@TARGETDIR@
scriptargs=""
keep=n
TMPROOT=${TMPDIR:=/tmp}
TARGET_OS="Linux"
TARGET_ARCH="@ARCHITECTURE@"

case "$1" in
--info)
    echo
    echo "  Identification    : $label"
    echo "  Target directory  : $targetdir"
    echo "  Uncompressed size : @SIZE@ KB"
    echo "  Compression       : gzip"
    echo "  Application run after extraction : $script $scriptargs"
    echo
    exit 0
    ;;
--label) echo "$label"; exit 0 ;;
--version-string) echo "$version_string"; exit 0 ;;
--pkg-version) echo "$pkg_version"; exit 0 ;;
--target-os) echo "$TARGET_OS"; exit 0 ;;
--target-arch) echo "$TARGET_ARCH"; exit 0 ;;
--target-directory) echo "$targetdir"; exit 0 ;;
--check)
    sum=$(tail -n +4 "$0" | cksum | cut -d " " -f 1)
    if [ "$sum" != "$CRCsum" ]; then
        echo "Error in checksums $sum $CRCsum"
        exit 2
    fi
    md5=$(tail -n +4 "$0" | md5sum | cut -b-32)
    if [ "$md5" != "$MD5" ]; then
        echo "Error in md5 sums $md5 $MD5"
        exit 2
    fi
    echo "check sums and md5 sums are ok"
    exit 0
    ;;
esac

run_script=y
while [ "$1" ]; do
    case "$1" in
    -x | --extract-only) run_script=n; keep=y ;;
    --keep) keep=y ;;
    --target)
        if [ -z "$2" ]; then
            echo "ERROR: --target: no target directory specified."
            exit 1
        fi
        targetdir=$2
        keep=y
        shift
        ;;
    --tmpdir)
        if [ -z "$2" ]; then
            echo "ERROR: --tmpdir: no temporary directory specified."
            exit 1
        fi
        scriptargs="$scriptargs $1 $2"
        TMPROOT=$2
        shift
        ;;
    *) scriptargs="$scriptargs $1" ;;
    esac
    shift
done

mkdir -p "$TMPROOT" || { echo "Unable to create temp directory $TMPROOT"; exit 1; }
probe=$(mktemp "$TMPROOT/makeself.XXXXXXXX" 2>/dev/null) ||
    { echo "Unable to create temporary file in $TMPROOT"; exit 1; }
chmod +x "$probe"
if ! "$probe" >/dev/null 2>&1; then
    echo "ERROR: Temporary directory $TMPROOT is not executable - use the --tmpdir option to specify a different one."
    rm "$probe"
    exit 1
fi
rm "$probe"

if [ "$(uname -s)-$(uname -m)" != "$TARGET_OS-$TARGET_ARCH" ] && [ $run_script = y ]; then
    echo
    echo "ERROR: this .run file is intended for the"
    echo "$TARGET_OS-$TARGET_ARCH platform, but you appear to be"
    echo "running on $(uname -s)-$(uname -m).  Aborting installation."
    echo
    exit 1
fi

if [ $keep = y ]; then
    echo "Creating directory $targetdir"
    unpacked=$targetdir
else
    workingdir=$TMPROOT/selfgz$$
    unpacked=$workingdir/$targetdir
    rm -rf "$unpacked"
fi
if [ -e "$unpacked" ]; then
    echo "The directory '$unpacked' already exists.  Please either"
    echo "move the existing directory out of the way, or specify a"
    echo "different directory with the '--target' option."
    exit 1
fi
mkdir -p "$unpacked" || { echo "Unable to create the target directory '$unpacked'."; exit 1; }

printf "Verifying archive integrity... "
sum=$(tail -n +4 "$0" | cksum | cut -d " " -f 1)
if [ "$sum" != "$CRCsum" ]; then
    echo "Error in check sums $sum $CRCsum"
    exit 2
fi
echo "OK"
printf "Uncompressing %s" "$label"
tail -n +$skip "$0" | gzip -cd | tar xf - -C "$unpacked" 2>/dev/null ||
    { echo "Extraction failed." 2>/dev/null >/dev/tty; kill -15 $$; }
echo
result=0
if [ $run_script = y ]; then
    # Its arguments are split at blanks, as ever.
    (cd "$unpacked" && $script $scriptargs)
    result=$?
fi
[ $keep = y ] || rm -rf "$workingdir"
exit $result
