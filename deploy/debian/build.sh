#!/usr/bin/env bash
# Builds target/debian/respgate_VERSION_ARCHITECTURE.deb: the program, manual pages, completions, the systemd units, the
# example configurations and the list of what the program is made of (SBOM). Needs what tests/setup.sh installs for a build, and cargo-deb, which it installs.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/setup.sh
need_to_build
need dpkg-deb=dpkg dpkg-shlibdeps=dpkg-dev readelf=binutils python3=python3-minimal
tool=$cache/cargo-deb/bin/cargo-deb
[[ -x $tool ]] || cargo install --quiet --locked --version 3.8.0 --root "$cache/cargo-deb" cargo-deb

made=target/debian-files
rm -rf "$made"
mkdir -p "$made/man"
deploy/release/build.sh "$made"
target/release/respgate man "$made/man"
gzip --best --no-name "$made"/man/*.1
target/release/respgate completions bash > "$made/respgate.bash"
target/release/respgate completions zsh > "$made/_respgate"
target/release/respgate completions fish > "$made/respgate.fish"
"$tool" --no-build --no-strip
