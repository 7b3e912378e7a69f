#!/usr/bin/env bash
# Shows respgate before a real redis-server that accepts only mutual TLS, on this machine alone.
# Installs what is missing, builds, tours, and stays up; `--once` ends after the tour.
set -euo pipefail
repository=$(cd "$(dirname "$0")/../.." && pwd)
. "$repository/tests/setup.sh"

need redis-server=redis-server
if [[ -z ${RESPGATE_BIN:-} ]]; then
  need_to_build
  cargo build --release --locked --manifest-path "$repository/Cargo.toml"
  RESPGATE_BIN=${CARGO_TARGET_DIR:-$repository/target}/release/respgate
fi
exec "$RESPGATE_BIN" demo "$@"
