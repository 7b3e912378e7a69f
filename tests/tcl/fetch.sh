#!/usr/bin/env bash
# Fetches the source package of Debian's Redis, whose TCL suite tests/tcl/run.py plays.
# Usage: fetch.sh DIRECTORY; prints the directory that holds `runtest`. Needs no root.
set -euo pipefail
cache=$1
if ! compgen -G "$cache/redis-*/runtest" > /dev/null; then
  mkdir -p "$cache/apt/lists/partial"
  # Lists of its own, made from the machine's: those may have no deb-src, and stay as they are.
  mkdir -p "$cache/apt/sources"
  for list in /etc/apt/sources.list /etc/apt/sources.list.d/*; do
    [[ -r $list ]] || continue
    case $list in
      *.sources) sed 's/^Types:.*/Types: deb-src/' "$list" ;;
      *.list) sed -nE 's/^deb(-src)? /deb-src /p' "$list" ;;
      *) continue ;;
    esac > "$cache/apt/sources/$(basename "$list")"
  done
  apt=(apt-get -qq -o Dir::Etc::sourcelist=/dev/null -o Dir::Etc::sourceparts="$cache/apt/sources"
    -o Dir::State::lists="$cache/apt/lists" -o Dir::Cache::srcpkgcache= -o Dir::Cache::pkgcache=
    -o APT::Sandbox::User=)
  "${apt[@]}" update >&2
  (cd "$cache" && "${apt[@]}" source --download-only redis >&2 && dpkg-source -x redis_*.dsc >&2)
fi
dirname "$(compgen -G "$cache/redis-*/runtest" | sort -V | tail -1)"
