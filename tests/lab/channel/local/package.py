"""Make conda packages: from a folder, and from a wheel."""

from __future__ import annotations

import email
import hashlib
import json
import logging
import os
import time
import zipfile
from pathlib import Path

# Stands for the prefix in text files; whoever installs a package puts the real one in its place.
PLACEHOLDER = "/opt/gpunode-lab-placeholder-for-the-prefix"
_COMPRESSION = 10  # of 19: a third of the time for a tenth more bytes


def pack(root, index, channel):
    """Pack everything below ``root`` as a conda package of a channel and return its path.

    Text files with PLACEHOLDER in them are marked to get the real prefix.

    :param root: the content; an ``info`` folder is added to it.
    :param index: ``name, version, build, subdir, depends``, and what else info/index.json takes.
    :param channel: the channel's folder.
    """
    from conda_package_handling.api import create

    index = {"build_number": 0, "depends": [], "timestamp": int(time.time() * 1000), **index}
    paths = [path_entry(path, path.relative_to(root)) for path in _files(root)]
    info = root / "info"
    info.mkdir()
    _write_json(info / "index.json", index)
    _write_json(info / "paths.json", {"paths": paths, "paths_version": 1})
    (info / "files").write_text("".join(f"{entry['_path']}\n" for entry in paths), encoding="utf-8")
    target = channel / index["subdir"]
    name = f"{index['name']}-{index['version']}-{index['build']}.conda"
    members = [str(path.relative_to(root)) for path in _files(root)]
    return Path(create(str(root), members, name, str(target), compression_level=_COMPRESSION))


def path_entry(path, relative):
    """Return one entry of info/paths.json."""
    content = path.read_bytes()
    entry = {
        "_path": str(relative),
        "path_type": "softlink" if path.is_symlink() else "hardlink",
        "sha256": hashlib.sha256(content).hexdigest(),
        "size_in_bytes": len(content),
    }
    if PLACEHOLDER.encode() in content and not path.is_symlink():
        entry.update(prefix_placeholder=PLACEHOLDER, file_mode="text")
    return entry


def convert(wheel, channel):
    """Make a wheel a conda package of a channel, under its PyPI name, and return the paths."""
    from whl2conda.api.converter import DependencyRename, Wheel2CondaConverter

    converter = Wheel2CondaConverter(wheel, channel)
    converter.logger.setLevel(logging.ERROR)
    converter.allow_impure = True
    converter.keep_pip_dependencies = True
    # Every name as it is normalised, not as conda-forge may call it: the channel has no others.
    converter.dependency_rename = [DependencyRename.from_strings(r"([a-z0-9]+(-[a-z0-9]+)*)", "$1")]
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        converter.extra_dependencies = marked_dependencies(archive.read(name).decode())
    return converter.convert_all()


def marked_dependencies(metadata):
    """Return, as conda writes them, the dependencies whose environment marker holds here.

    The converter leaves them out of packages for any platform; the channel serves one Python.
    """
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    lines = email.message_from_string(metadata).get_all("Requires-Dist") or []
    return [
        f"{canonicalize_name(requirement.name)} {requirement.specifier}".strip()
        for requirement in map(Requirement, lines)
        if requirement.marker and requirement.marker.evaluate({"extra": ""})
    ]


def _files(root):
    return sorted(
        Path(folder, name)
        for folder, names, files in os.walk(root)
        for name in files + [name for name in names if Path(folder, name).is_symlink()]
    )


def _write_json(path, content):
    path.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", encoding="utf-8")
