#!/usr/bin/env bash
# Installs the applications, and runs them through faults of the server: see run.py for its options. With `beside`
# first, two of each beside each other: see beside.py.
set -uo pipefail
cd "$(dirname "$0")/../.."
. tests/setup.sh
here=tests/applications
application_packages || exit 1
program=run.py
[[ ${1:-} == beside ]] && program=beside.py && shift
exec "$cache/applications/bin/python" "$here/$program" --python "$cache/applications/bin/python" \
  --older-python "$cache/applications-older/bin/python" --node "$NODE_PATH" "$@"
