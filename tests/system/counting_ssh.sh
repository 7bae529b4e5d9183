#!/bin/sh
# ssh, and a line in a log with the host for each command it is asked to run. Not in Python, whose
# start would cost each of a thousand commands more than ssh itself.
# Ansible's own control commands (`ssh -O check`) open nothing and are not counted.
control=''
before=''
last=''
for word in "$@"; do
    if [ "$word" = -O ]; then
        control=yes
    fi
    before=$last
    last=$word
done
if [ -z "$control" ]; then
    echo "$before" >>"$GPUNODE_TEST_SSH_LOG"
fi
exec ssh "$@"
