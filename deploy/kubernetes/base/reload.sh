#!/bin/sh
# Beside campaignd in the pod: asks for a reload when Kubernetes has replaced the files in a
# directory, which it does by another target of the link ..data.
set -eu
directory=${1:-/etc/campaignd}
known=$(readlink "$directory/..data")
echo "watching $directory"
while sleep "${POLL_SECONDS:-5}"; do
    current=$(readlink "$directory/..data")
    [ "$current" != "$known" ] || continue
    known=$current
    for process in /proc/[0-9]*; do
        if [ "$(cat "$process/comm" 2>/dev/null)" = campaignd ]; then
            kill -HUP "${process#/proc/}" && echo "reload requested: $current"
        fi
    done
done
