#!/usr/bin/env bash
# Installs the applications, and runs them through faults of the server: see run.py for its options.
set -uo pipefail
cd "$(dirname "$0")/../.."
. tests/setup.sh
here=tests/applications
need redis-server=redis-server python3=python3-venv openssl=openssl haproxy=haproxy node=nodejs npm=npm \
  php=php-cli sidekiq=ruby-sidekiq || exit 1
# The extension has no program of its own, so the word before = names none.
php -m | grep -qx redis || need php-redis-extension=php-redis || exit 1
python_packages "$here/requirements.txt" applications
python_packages "$here/requirements-older.txt" applications-older
node_packages "$here/node" applications-node
exec python3 "$here/run.py" --python "$cache/applications/bin/python" \
  --older-python "$cache/applications-older/bin/python" --node "$NODE_PATH" "$@"
