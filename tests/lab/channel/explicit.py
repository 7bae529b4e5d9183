"""Explicit locks as conda writes them: every package of an environment by URL and digest."""

from __future__ import annotations

PLATFORM = "linux-64"


def text(records, algorithm, made_from):
    """Return an ``@EXPLICIT`` lock.

    :param records: the packages, each with ``url, md5, sha256``.
    :param algorithm: "md5", which every conda reads, or "sha256", which old ones cannot parse.
    :param made_from: one line that names what the lock was made from; see :func:`origin_of`.
    """
    prefix = "" if algorithm == "md5" else f"{algorithm}:"
    packages = [f"{record['url']}#{prefix}{record[algorithm]}" for record in records]
    head = [f"# platform: {PLATFORM}", f"# made from: {made_from}", "@EXPLICIT"]
    return "\n".join(head + packages) + "\n"


def origin_of(path):
    """Return what the lock at ``path`` says it was made from; None where there is no such lock."""
    mark = "# made from: "
    if not path.is_file():
        return None
    lines = path.read_text(encoding="utf-8").splitlines()
    return next((line[len(mark) :] for line in lines if line.startswith(mark)), None)
