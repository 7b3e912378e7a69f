#!/usr/bin/env bash
# build.sh DIRECTORY [amd64|arm64]: the program for a release and what it is made of, into DIRECTORY: respgate,
# respgate.cdx.json. Without a name of a processor, for this machine; for another one, on Debian as root, the compiler
# of C for it is installed. The Dockerfile and the Debian package are made by this script.
set -euo pipefail
made=$(mkdir -p "$1" && cd "$1" && pwd)
cd "$(dirname "$0")/../.."
own=$(rustc --version --verbose | sed -n 's/^host: //p')
case ${2:-} in
  '') target=$own ;;
  amd64) target=x86_64-unknown-linux-gnu ;;
  arm64) target=aarch64-unknown-linux-gnu ;;
  *) echo "build.sh: no processor $2: amd64 or arm64" >&2 && exit 2 ;;
esac
# SOURCE_DATE_EPOCH empty is as none.
[[ ${SOURCE_DATE_EPOCH:-} ]] || unset SOURCE_DATE_EPOCH
# The cryptography and the allocator are C: their functions check their stack frames, and touch each page of a large one.
export CFLAGS=${CFLAGS:-'-fstack-protector-strong -fstack-clash-protection'}
export RESPGATE_REVISION=${RESPGATE_REVISION:-unknown}

# needs PROGRAM PACKAGE...: installs what a plain image of Rust does not have.
needs() {
  if command -v "$1" > /dev/null; then return; fi
  apt-get -qq update
  apt-get -qq -y --no-install-recommends install "${@:2}" > /dev/null
}
needs python3 python3
needs readelf binutils

arguments=(--release --locked --bin respgate) folder=target/release
if [[ $target != "$own" ]]; then
  gcc=${target%%-*}-linux-gnu-gcc
  needs "$gcc" "gcc-$(tr _ - <<< "${gcc%-gcc}")" "libc6-dev-$2-cross"
  rustup --quiet target add "$target"
  name=${target//-/_}
  export "CARGO_TARGET_${name^^}_LINKER=$gcc" "CC_$name=$gcc"
  arguments+=(--target "$target") folder=target/$target/release
fi
cargo build "${arguments[@]}"
deploy/release/hardening.sh "$folder/respgate" --stack
settings=$(sed -n 's/^JEMALLOC_SYS_WITH_MALLOC_CONF = "\(.*\)"/\1/p' .cargo/config.toml)
grep --quiet --text --fixed-strings "${settings:?}" "$folder/respgate" || { echo 'FAIL the allocator has other settings than .cargo/config.toml' >&2; exit 1; }
cp "$folder/respgate" "$made/respgate"
deploy/release/sbom.py "$target" > "$made/respgate.cdx.json"
