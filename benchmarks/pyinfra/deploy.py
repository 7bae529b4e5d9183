"""What site.yml has the lab's hosts be, said to pyinfra.

Miniforge, an environment of the packages of a lock and of a requirements file, and the sample
application behind a socket of systemd. The names of folders that gpunode takes from what is in
them, and the texts that it writes, are read from a host that it converged: see ../peer.py.
"""

from pathlib import Path

from pyinfra import host
from pyinfra.facts.files import File, FindDirectories, FindFiles
from pyinfra.operations import files, server, systemd

MINIFORGE = "/opt/miniforge3"
ENVIRONMENTS = "/opt/gpunode/envs"
APP = "ob_cuda"
HOME = f"/srv/{APP}"
UNITS = (f"{APP}.socket", f"{APP}.service")
INSTALLER = "/var/cache/miniforge.sh"
LOCK, REQUIREMENTS = f"/var/cache/{APP}.lock", f"/var/cache/{APP}.requirements.txt"

data = host.data


def copy_of(path):
    """Return where a copy of what lies on the host lies here."""
    return str(Path(data.copies, path.lstrip("/")))


def names(fact, folder, pattern):
    """Return the names of what lies in a folder of the host."""
    paths = host.get_fact(fact, path=folder, fname=pattern, maxdepth=1)
    return sorted(path.rsplit("/", 1)[1] for path in paths)


# Miniforge.
if not host.get_fact(File, path=data.conda_record):
    files.download(src=data.miniforge_url, dest=INSTALLER, sha256sum=data.miniforge_sha256)
    server.shell(commands=[f"bash {INSTALLER} -b -u -p {MINIFORGE}", f"rm {INSTALLER}"])
files.file(path=f"{MINIFORGE}/bin/conda", user="root", group="root", mode="755")
for path in (f"{MINIFORGE}/.condarc", f"{MINIFORGE}/pip.conf"):
    files.put(src=copy_of(path), dest=path, user="root", group="root", mode="644")

# The environment.
files.directory(path=ENVIRONMENTS, user="root", group="root", mode="755")
if names(FindFiles, f"{data.environment}/conda-meta", "*.json") != data.conda_records:
    files.put(src=data.lock, dest=LOCK, user="root", group="root", mode="600")
    server.shell(
        commands=[
            f"rm -rf {data.environment}",
            f"{MINIFORGE}/bin/conda create --yes --prefix {data.environment} --file {LOCK}",
        ]
    )
if names(FindDirectories, data.site_packages, "*.dist-info") != data.dist_infos:
    files.put(src=data.requirements, dest=REQUIREMENTS, user="root", group="root", mode="600")
    server.shell(
        commands=[
            f"PIP_CONFIG_FILE={MINIFORGE}/pip.conf {data.environment}/bin/python -m pip install"
            f" --require-hashes -r {REQUIREMENTS}"
        ]
    )
files.directory(path=data.environment, user="root", group="root", mode="755")
record = f"{data.environment}/.gpunode.lock"
files.put(src=copy_of(record), dest=record, user="root", group="root", mode="600")
files.link(path=f"{ENVIRONMENTS}/{APP}", target=data.environment.rsplit("/", 1)[1])

# The application.
server.group(group=APP, system=True)
server.user(
    user=APP, group=APP, home=HOME, shell="/usr/sbin/nologin", system=True, ensure_home=False
)
files.directory(path=HOME, user="root", group="root", mode="755")
files.directory(path=f"{HOME}/releases", user="root", group=APP, mode="750")
release = files.sync(
    src=copy_of(data.release),
    dest=data.release,
    user="root",
    group="root",
    mode="644",
    dir_mode="755",
    delete=True,
)
files.link(path=f"{HOME}/current", target=data.release)
changing = [release]
for unit in UNITS:
    path = f"/etc/systemd/system/{unit}"
    changing += [
        files.put(src=copy_of(path), dest=path, user="root", group="root", mode="644"),
        files.directory(path=f"{path}.d", present=False),
    ]


def has_changed():
    """Say whether what runs is not what lies there."""
    return any(operation.did_change() for operation in changing)


systemd.daemon_reload(_if=has_changed)
for unit in UNITS:
    systemd.service(service=unit, running=True, enabled=True)
systemd.service(service=UNITS[-1], restarted=True, _if=has_changed)
