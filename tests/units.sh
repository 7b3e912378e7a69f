#!/usr/bin/env bash
# The systemd units: read by systemd itself, and as closed as their guide promises.
set -euo pipefail
cd "$(dirname "$0")/.."
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
for unit in respgate.service respgate.socket; do
  sed "s#/usr/bin/respgate#$RESPGATE_BIN#" "deploy/systemd/$unit" > "$folder/$unit"
done
mkdir "$folder/respgate.service.d"
cp deploy/systemd/credentials.conf "$folder/respgate.service.d/"
systemd-analyze verify --man=no "$folder/respgate.service" "$folder/respgate.socket" > "$folder/output" 2>&1 || { cat "$folder/output"; exit 1; }
if [[ -s $folder/output ]]; then cat "$folder/output"; exit 1; fi
systemd-analyze security --offline=true --no-pager --threshold=12 "$folder/respgate.service" > /dev/null
output=$(systemd-analyze security --offline=true --no-pager "$folder/respgate.service" | sed -nE 's/.*exposure level.*: ([0-9.]+) .*/\1/p')
# Every setting of the drop-in is one that respgate knows.
mapfile -t settings < <(sed -nE 's/^Environment=(RESPGATE__[A-Z_]+)=.*/\1/p' deploy/systemd/credentials.conf)
for setting in "${settings[@]}"; do
  # A path that cannot be read is another error than an unknown setting.
  if env "$setting=/nonexistent" "$RESPGATE_BIN" check --skip-files --config config/minimal.toml 2>&1 | grep -i 'unknown' > /dev/null; then
    echo "respgate does not know $setting"; exit 1
  fi
done
echo "ok   respgate.service, respgate.socket, credentials.conf: exposure $output"
