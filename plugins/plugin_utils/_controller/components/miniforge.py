# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is wanted of Miniforge on a host."""

from __future__ import annotations

import configparser
import io
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from ansible_collections.gpunode.stack.plugins.module_utils._node import facts_shape, urls
from ansible_collections.gpunode.stack.plugins.module_utils._node.conda import prefixes
from ansible_collections.gpunode.stack.plugins.module_utils._node.miniforge import wanted
from ansible_collections.gpunode.stack.plugins.module_utils._node.refusal import Refusal
from ansible_collections.gpunode.stack.plugins.module_utils._node.system import (
    disk,
    files,
    own_paths,
)

from ..conda import channels
from ..inputs import addresses, catalog, host_folder, sent_file
from ..inputs.site import Site

_MARK = "# Written by gpunode; what is changed here by hand is lost.\n"
_SHA256 = re.compile(r"[0-9a-f]{64}")
_CERTIFICATE = "-----BEGIN CERTIFICATE-----"
_PRIVATE_KEY = re.compile("-----BEGIN [A-Z ]*PRIVATE KEY-----")
_VERSION = re.compile(r"\d+(?:\.\d+)+-\d+")
# Miniforge 26 unpacked with its package cache takes some 700 MiB, its installer some 100 MiB.
_ROOM = disk.GIB
_INSTALLER_ROOM = disk.GIB // 4
_CONDARC = ("channels", "default_channels", "channel_alias")


def is_wanted(site: Site) -> bool:
    """Say whether a host is to have Miniforge, as any with an environment is, or to lose it."""
    return bool(_environments(site)) or site.options("miniforge")["state"] == "absent"


def resolve(options: Mapping[str, Any], site: Site) -> wanted.State:
    """Return the wanted state."""
    prefix = host_folder.checked("miniforge_prefix", options["prefix"])
    if options["state"] == "absent":
        return _absent(prefix, _environments(site))
    version, architecture, installer = _installer(options)
    ca_text = _ca_text(options, site)
    options = {**options, "ca_bundle": own_paths.CA_PATH if ca_text else options.get("ca_bundle")}
    return {
        "state": "present",
        "prefix": prefix,
        "version": version,
        "conda_version": version.split("-")[0],
        "architecture": architecture,
        "installer": installer,
        "proxies": _proxies(options),
        "ca_bundle": options["ca_bundle"] or "",
        "ca_path": own_paths.CA_PATH,
        "ca_text": ca_text,
        "condarc": _condarc(options),
        "pip_config": _pip_config(prefix),
        "pip_conf": _pip_conf(options),
    }


def _environments(site: Site) -> list[str]:
    """Return the names of the environments that the host is to have."""
    return [
        item["name"] for item in site.options("conda_env")["list"] if item["state"] == "present"
    ]


def _absent(prefix: str, environments: Sequence[str]) -> wanted.Absent:
    if environments:
        raise Refusal(
            "miniforge_state absent",
            f"environments are wanted that it makes and repairs: {', '.join(environments)}",
            "Give them state: absent as well, or leave Miniforge",
        )
    return {"state": "absent", "prefix": prefix, "pip_config": _pip_config(prefix)}


def _pip_config(prefix: str) -> str:
    return os.path.join(prefix, "pip.conf")


def present(state: wanted.State) -> list[str]:
    """Return the names of what is to be in place."""
    return [state["prefix"]] if state["state"] == "present" else []


def absent(state: wanted.State) -> list[str]:
    """Return the names of what is to be removed."""
    return [state["prefix"]] if state["state"] == "absent" else []


def probe(state: wanted.State) -> dict[str, list[str]]:
    """Return what the plan must know of the host."""
    paths = [state["prefix"], *_expected_bundle(state), *_settings(state)]
    return {"paths": paths, "users": []}


def _settings(state: wanted.State) -> dict[str, str]:
    """Return {path: text} of what configures an installation, {} where there is to be none."""
    if state["state"] == "absent":
        return {}
    condarc = os.path.join(state["prefix"], ".condarc")
    return {condarc: state["condarc"], state["pip_config"]: state["pip_conf"]}


def notices(state: wanted.State, facts: facts_shape.Facts) -> list[dict[str, str]]:
    """Return {rule, says} of settings that were there before us, and are about to be replaced."""
    if "miniforge" in facts["receipts"]:
        return []
    found = {path: facts["paths"][path] for path in _settings(state)}
    return [
        {
            "rule": "settings-replaced",
            "says": f"{path} is not this project's and is replaced: give what is to stay of it in "
            "the options of miniforge, such as miniforge_channels",
        }
        for path, text in _settings(state).items()
        if found[path]["kind"] in ("file", "link")
        and found[path]["sha256"] != files.sha256_of_text(text)
    ]


def refusals(state: wanted.State, facts: facts_shape.Facts) -> list[Refusal]:
    """Return a Refusal for each thing that cannot work on this host."""
    found = []
    verdict = prefixes.verdict(facts["paths"][state["prefix"]])
    if verdict == "foreign":
        found.append(prefixes.foreign("Miniforge", state["prefix"], "miniforge_prefix"))
    if state["state"] == "absent":
        return found
    if verdict in ("free", "unfinished"):
        found += disk.refusals(
            [
                (f"Miniforge in {state['prefix']}", state["prefix"], _ROOM),
                (f"its installer in {own_paths.CACHE_DIR}", own_paths.CACHE_DIR, _INSTALLER_ROOM),
            ],
            facts["mounts"],
        )
    if state["architecture"] not in ("", facts["architecture"]):
        found.append(
            Refusal(
                f"Miniforge {state['version']}",
                f"the catalog's installer is for {state['architecture']}, "
                f"the host is {facts['architecture']}",
                "Name an installer for this host with miniforge_url and miniforge_sha256",
            )
        )
    found += [
        Refusal(
            f"miniforge_ca_bundle {path}",
            "there is no such file on the host",
            "Correct the path, or name a file of the controller with miniforge_ca_source",
        )
        for path in _expected_bundle(state)
        if facts["paths"][path]["kind"] not in ("file", "link")
    ]
    return found


def arguments(_state: wanted.State, _site: Site) -> dict[str, Any]:
    """Return what the module takes besides: nothing."""
    return {}


def sendable(_state: wanted.State) -> dict[str, sent_file.File]:
    """Return the files of the controller that the host may ask for: none."""
    return {}


def summary(state: wanted.State) -> list[dict[str, Any]]:
    """Return a line for people about what is on a converged host."""
    if state["state"] == "absent":
        return [{"says": f"no conda in {state['prefix']}"}]
    return [{"says": f"conda {state['conda_version']} in {state['prefix']}"}]


def _installer(options: Mapping[str, Any]) -> tuple[str, str, wanted.Installer]:
    """Return (version, architecture or "", {url, sha256}) of the installer to use."""
    rows = {row["version"]: row for row in catalog.rows("miniforge")}
    if options.get("url"):
        return _own_installer(options, rows)
    if options.get("sha256"):
        raise Refusal("miniforge_sha256", "it is said without miniforge_url", "Say both or neither")
    version = options.get("version") or next(iter(rows))
    if version not in rows:
        raise Refusal(
            f"miniforge_version {version}",
            f"the catalog knows {', '.join(rows)}",
            "Choose one of these, or name an installer with miniforge_url and miniforge_sha256",
        )
    row = rows[version]
    return version, row["architecture"], {"url": row["url"], "sha256": row["sha256"]}


def _own_installer(
    options: Mapping[str, Any], rows: Mapping[str, Mapping[str, Any]]
) -> tuple[str, str, wanted.Installer]:
    """Return the same of an installer that the user names, which may be one of the catalog's."""
    url = addresses.checked("miniforge_url", options["url"])
    version, sha256 = options.get("version") or "", options.get("sha256")
    if not _VERSION.fullmatch(version):
        raise Refusal(
            f"miniforge_version '{version}'",
            "with miniforge_url it has to name the version of that installer, such as 26.7.2-0",
            "Say the version that stands in the installer's name",
        )
    if sha256 and not _SHA256.fullmatch(sha256):
        raise Refusal(
            f"miniforge_sha256 {sha256}", "a sha256 is 64 digits from 0 to f", "Correct it"
        )
    if sha256:
        return version, "", {"url": url, "sha256": sha256}
    if version not in rows:
        raise Refusal(
            f"miniforge_url {urls.shown(url)}",
            f"there is no miniforge_sha256, and the catalog does not know version {version}",
            "Say the sha256 that the installer's publisher states",
        )
    return version, rows[version]["architecture"], {"url": url, "sha256": rows[version]["sha256"]}


def _expected_bundle(state: wanted.State) -> list[str]:
    """Return [path] of the certificates that the host is to have before we come, [] for none."""
    if state["state"] == "absent" or not state["ca_bundle"] or state["ca_text"] is not None:
        return []
    return [state["ca_bundle"]]


def _ca_text(options: Mapping[str, Any], site: Site) -> str | None:
    """Return the certificates to hand over to the host, None for none."""
    if options.get("ca_bundle") == own_paths.CA_PATH:
        raise Refusal(
            f"miniforge_ca_bundle {own_paths.CA_PATH}",
            "what lies there is made and removed by this role",
            "Name the certificates on the controller with miniforge_ca_source",
        )
    if not options.get("ca_source"):
        return None
    what = f"miniforge_ca_source {options['ca_source']}"
    if options.get("ca_bundle"):
        raise Refusal(what, "there is miniforge_ca_bundle as well", "Say one of them")
    text = site.read_text(options["ca_source"], "miniforge_ca_source")
    if _CERTIFICATE not in text:
        raise Refusal(what, f"it holds no {_CERTIFICATE}", "Name a file of certificates in PEM")
    if _PRIVATE_KEY.search(text):
        raise Refusal(
            what, "it holds a private key, which no host needs", "Leave only the certificates in it"
        )
    return text


def _proxies(options: Mapping[str, Any]) -> dict[str, str]:
    return {scheme: address for scheme, address in (options.get("proxy") or {}).items() if address}


def _condarc(options: Mapping[str, Any]) -> str:
    settings = {key: options[key] for key in _CONDARC if options.get(key)}
    if channels.custom(options):
        settings["custom_channels"] = channels.custom(options)
    settings.update(auto_update_conda=False, notify_outdated_conda=False, show_channel_urls=True)
    if _proxies(options):
        settings["proxy_servers"] = _proxies(options)
    if options.get("ca_bundle"):
        settings["ssl_verify"] = options["ca_bundle"]
    return _MARK + yaml.safe_dump(settings, sort_keys=True, default_flow_style=False)


def _pip_conf(options: Mapping[str, Any]) -> str:
    """Return the text of pip.conf; pip takes one proxy for all."""
    proxies = _proxies(options)
    settings = {
        "index-url": options.get("pip_index_url"),
        "extra-index-url": "\n".join(options.get("pip_extra_index_urls") or []),
        "proxy": proxies.get("https") or proxies.get("http"),
        "cert": options.get("ca_bundle"),
    }
    parser = configparser.ConfigParser(interpolation=None)
    parser["global"] = {key: value for key, value in settings.items() if value}
    text = io.StringIO()
    parser.write(text)
    return _MARK + text.getvalue().rstrip("\n") + "\n"
