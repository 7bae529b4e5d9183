#!/usr/bin/env python3
"""ssh, and a line in a log with the host for each command it is asked to run.

Ansible's own control commands (`ssh -O check`) open nothing and are not counted.
"""

import os
import sys

arguments = sys.argv[1:]
if "-O" not in arguments:
    with open(os.environ["GPUNODE_TEST_SSH_LOG"], "a", encoding="utf-8") as log:
        log.write(f"{arguments[-2]}\n")
os.execvp("ssh", ["ssh", *arguments])
