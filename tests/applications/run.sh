#!/usr/bin/env bash
# Installs the applications, and runs them through faults of the server: see run.py for its options. With `beside`
# first, two of each beside each other: see beside.py.
set -uo pipefail
cd "$(dirname "$0")/../.."
. tests/setup.sh
here=tests/applications
need redis-server=redis-server python3=python3-venv openssl=openssl haproxy=haproxy node=nodejs npm=npm \
  php=php-cli sidekiq=ruby-sidekiq || exit 1
# The extension has no program of its own, so the word before = names none.
php -m | grep -x redis > /dev/null || need php-redis-extension=php-redis || exit 1
[[ -e /usr/share/php/Illuminate/Redis/autoload.php && -e /usr/share/php/Predis/autoload.php ]] ||
  need laravel-cache=php-illuminate-cache laravel-queue=php-illuminate-queue laravel-redis=php-illuminate-redis \
    predis=php-predis || exit 1
python_packages "$here/requirements.txt" applications
python_packages "$here/requirements-older.txt" applications-older
node_packages "$here/node" applications-node
program=run.py
[[ ${1:-} == beside ]] && program=beside.py && shift
exec "$cache/applications/bin/python" "$here/$program" --python "$cache/applications/bin/python" \
  --older-python "$cache/applications-older/bin/python" --node "$NODE_PATH" "$@"
