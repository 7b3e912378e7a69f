#!/usr/bin/env bash
# Fetches the source package of Debian's Redis, whose TCL suite tests/tcl/run.py plays.
# Usage: fetch.sh DIRECTORY; prints the directory that holds `runtest`. Needs no root.
set -euo pipefail
cache=$1
if ! compgen -G "$cache/redis-*/runtest" > /dev/null; then
  mkdir -p "$cache/apt/lists/partial"
  # A source list of its own: the machine's may have no deb-src, and stays as it is.
  . /etc/os-release
  {
    echo "deb-src http://deb.debian.org/debian $VERSION_CODENAME main"
    echo "deb-src http://deb.debian.org/debian-security $VERSION_CODENAME-security main"
  } > "$cache/apt/sources.list"
  apt=(apt-get -qq -o Dir::Etc::sourcelist="$cache/apt/sources.list" -o Dir::Etc::sourceparts=-
    -o Dir::State::lists="$cache/apt/lists" -o Dir::Cache::srcpkgcache= -o Dir::Cache::pkgcache=
    -o APT::Sandbox::User=)
  "${apt[@]}" update >&2
  (cd "$cache" && "${apt[@]}" source --download-only redis >&2 && dpkg-source -x redis_*.dsc >&2)
fi
dirname "$(compgen -G "$cache/redis-*/runtest" | sort -V | tail -1)"
