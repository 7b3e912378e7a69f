#!/usr/bin/env bash
# Installs what is missing and runs everything; `tests/run.sh quick` stops after the Rust part.
# The last line is `N passed, N failed`.
set -uo pipefail
cd "$(dirname "$0")/.."
. tests/setup.sh

logs=$(mktemp -d)
background=() quick=
[[ ${1:-} != quick ]] || quick=yes
trap 'kill "${background[@]}" 2> /dev/null; rm -rf "$logs"' EXIT
passed=0 failed=0 began=$SECONDS processors=$(nproc)
summary=() failures=()

# stage NAME COMMAND...: runs it, keeps its output, and counts by its own figures or as one.
stage() {
  local name=$1 start=$SECONDS status=0 good bad
  shift
  echo "── $name"
  "$@" > "$logs/log" 2>&1 || status=$?
  good=$(sed -nE 's/^(test result: [a-zA-Z]+\. )?([0-9]+) passed[;,] [0-9]+ failed.*/\2/p' "$logs/log" | paste -sd+)
  bad=$(sed -nE 's/^(test result: [a-zA-Z]+\. )?[0-9]+ passed[;,] ([0-9]+) failed.*/\2/p' "$logs/log" | paste -sd+)
  good=$((${good:-0})) bad=$((${bad:-0}))
  if ((status == 0 && good == 0)); then good=1; fi
  if ((status != 0 && bad == 0)); then bad=1; fi
  if ((bad > 0)); then
    # What failed within cargo's long output, and the end of any other.
    awk '/^failures:$/, /^test result/' "$logs/log" | head -n 400
    grep -A 8 '^FAIL ' "$logs/log" | head -n 60
    tail -n 60 "$logs/log"
    local named='^(FAIL .*|\[(err|exception)\].*|test .* \.\.\. FAILED)$'
    mapfile -t -O "${#failures[@]}" failures < <(sed -nE "s/$named/$name: \1/p" "$logs/log")
  else
    grep -E '^(ok  |skipped)' "$logs/log"
  fi
  passed=$((passed + good)) failed=$((failed + bad))
  summary+=("$(printf '%-26s %5d passed %4d failed %5d s' "$name" "$good" "$bad" $((SECONDS - start)))")
  return "$status"
}

# behind NAME...: runs these functions one after the other, beside the stages and other such lines, for those that mostly
# wait.
behind() {
  {
    local name
    for name in "$@"; do
      "$name" > "$logs/$name" 2>&1
      echo $? > "$logs/$name.status"
    done
  } &
  background+=($!)
}

# result NAME: the output and the status of a function that `behind` has started, after its end.
result() {
  while [[ ! -s $logs/$1.status ]] && kill -0 "${background[@]}" 2> /dev/null; do sleep 1; done
  cat "$logs/$1"
  return "$(cat "$logs/$1.status" || echo 1)"
}

finish() {
  printf '\n'
  printf '%s\n' "${summary[@]}"
  printf '%-26s %36d s\n\n' 'in all' $((SECONDS - began))
  ((${#failures[@]} == 0)) || printf '%s\n' "${failures[@]}" ''
  echo "$passed passed, $failed failed"
  exit $((failed > 0))
}

# Two lanes beside each other: the tests of operators and of faults mostly wait for files, servers and deadlines, those of
# all other targets compute. What misbehaves on purpose has the machine for itself once the others have ended. Before them
# all that was compiled goes to the disk, which would be slow while tests measure time.
rust_tests() {
  local file name others=(--lib --bins) status=0
  sync
  for file in tests/*/main.rs tests/*.rs; do
    name=$(basename "${file%/main.rs}" .rs)
    [[ $name == operation || $name == abuse ]] || others+=(--test "$name")
  done
  {
    cargo_test $(((processors * 3 + 1) / 2)) --test operation
    status=$?
    cargo_test $(((processors * 3 + 1) / 2)) --test abuse && ((status == 0))
  } > "$logs/lane" 2>&1 &
  background+=($!)
  cargo_test $(((processors * 3 + 1) / 2)) "${others[@]}" || status=$?
  cargo_test "$processors" --doc || status=$?
  wait "${background[-1]}" || status=$?
  unset 'background[-1]'
  cat "$logs/lane"
  return "$status"
}

# cargo_test THREADS OPTION...: so many tests beside each other, more than processors as they wait for servers, too.
cargo_test() {
  RUST_TEST_THREADS=${RUST_TEST_THREADS:-$1} cargo test --locked --no-fail-fast "${@:2}"
}

lints() {
  cargo clippy --quiet --locked --all-targets -- -D warnings
}

documentation() {
  RUSTDOCFLAGS='-D warnings' cargo doc --quiet --locked --no-deps --document-private-items
}

# The fuzzers' own lock file is that of the crate, so that both need the same dependencies compiled; libFuzzer is not linked.
fuzz_targets() {
  cp Cargo.lock tests/fuzz/Cargo.lock &&
    CUSTOM_LIBFUZZER_PATH=/nonexistent cargo check --quiet --manifest-path tests/fuzz/Cargo.toml --target-dir target --bins
}

# The licences of all crates are read, those of other systems included.
release() {
  cargo fetch --locked --quiet &&
    "$cache/release/bin/python" tests/release/run.py --respgate "$RESPGATE_BIN"
}

rust_driver() {
  CARGO_TARGET_DIR=$cache/redis-rs \
    cargo build --locked --quiet --manifest-path tests/drivers/redis-rs/Cargo.toml
}

drivers() {
  "$python" tests/drivers/run.py --node "$NODE_PATH" --rust "$cache/redis-rs/debug/driver-redis-rs" \
    --older "$cache/redis-py-6/bin/python" --older "$cache/redis-py-7/bin/python"
}

# Applications through a restart of the server; `tests/applications/run.sh` plays every fault.
applications() {
  bash tests/applications/run.sh --faults 'restart of 1 s,CLIENT KILL' --ways direct,respgate
}

# Two of each beside each other on one server, behind two prefixes.
applications_beside() {
  bash tests/applications/run.sh beside
}

# Each fault once, respgate beside HAProxy; `tests/faults/run.sh --all` compares with all peers, --minutes lasts longer.
faults() {
  bash tests/faults/run.sh --seed 1
}

# Two lanes beside each other, as the suite mostly waits.
tcl_suite() {
  local suite lane status=0
  suite=$(bash tests/tcl/fetch.sh "$cache/tcl") || return
  tcl_modes "$suite" 1 session 'ttl --short' 'guarded --short' bounded > "$logs/lane" 2>&1 &
  lane=$!
  tcl_modes "$suite" 0 shared 'rewrite --short' 'guarded-valkey --short' 'valkey --short' || status=$?
  wait "$lane" || status=$?
  cat "$logs/lane"
  return "$status"
}

# tcl_modes SUITE LANE 'MODE [OPTION]'...: one after the other.
tcl_modes() {
  local suite=$1 lane=$2 mode status=0
  for mode in "${@:3}"; do
    # shellcheck disable=SC2086
    "$python" tests/tcl/run.py "$suite" --lane "$lane" --mode $mode || status=$?
  done
  return "$status"
}

kubernetes() {
  "$kubernetes_python" tests/kubernetes/run.py --respgate "$RESPGATE_BIN" --kubectl "$kubectl" --helm "$helm" \
    --node "$kubernetes_node"
}

monitoring() {
  python3 tests/monitoring/run.py --respgate "$RESPGATE_BIN"
}

# The examples with addresses and ports as in the manifests, in a network of its own; beside them Vault's side. Both mostly wait.
pods() {
  local log status=0
  if ! as_root unshare --net true 2> /dev/null; then
    echo 'skipped: this machine permits no network namespaces'
    return
  fi
  log=$(mktemp)
  "$kubernetes_python" tests/kubernetes/vault.py --respgate "$RESPGATE_BIN" > "$log" 2>&1 &
  as_root unshare --net "$kubernetes_python" tests/kubernetes/endtoend.py --respgate "$RESPGATE_BIN" --kubectl "$kubectl" ||
    status=$?
  wait $! || status=$?
  cat "$log"
  rm "$log"
  return "$status"
}

# All that the stages need, and nothing that is there already.
installation() {
  rust_packages || return
  [[ ! $quick ]] || return 0
  other_packages || return
  # Their stages install these, too, and fail without them.
  (application_packages)
  (fault_packages)
  bash tests/tcl/fetch.sh "$cache/tcl"
  return 0
}

# The installation has run beside the compiler, as downloads mostly wait; here it sets the variables of the stages, and
# tries again what has failed.
installed() {
  result installation
  installation
}

rust_packages() {
  need redis-server=redis-server redis-cli=redis-tools promtool=prometheus python3=python3-venv openssl=openssl &&
    need_syslog || return
  # Tests skip what is missing of these.
  python_environment tests/drivers/requirements.txt
  older_redis tests/policy/guard/requirements.txt
  return 0
}

other_packages() {
  python_packages tests/release/requirements.txt release && need git=git readelf=binutils &&
    need node=nodejs npm=npm tclsh=tcl dpkg-source=dpkg-dev && node_packages tests/drivers/node &&
    python_packages tests/drivers/redis-py-6.txt redis-py-6 && python_packages tests/drivers/redis-py-7.txt redis-py-7 &&
    need systemd-analyze=systemd bwrap=bubblewrap ip=iproute2 unshare=util-linux setpriv=util-linux && kubernetes_tools
}

echo '── setting up'
need_to_build || { echo '0 passed, 1 failed'; exit 1; }
behind installation

stage format cargo fmt --check
if [[ $quick ]]; then
  stage lints lints
  stage documentation documentation
  stage 'fuzz targets' fuzz_targets
fi
stage 'tests build' cargo test --quiet --locked --no-run || finish
[[ $quick ]] || stage 'redis-rs builds' rust_driver
stage installation installed || finish
stage 'cargo test' rust_tests
[[ $quick ]] && finish

export RESPGATE_BIN=$PWD/target/debug/respgate
behind pods kubernetes monitoring
behind faults
stage drivers drivers
stage applications applications
stage 'pods and Vault' result pods
stage Kubernetes result kubernetes
stage monitoring result monitoring
stage faults result faults
# The suite mostly waits: beside it the compiler, and what is short.
behind lints documentation fuzz_targets
behind applications_beside release
stage "Redis's TCL suite" tcl_suite
stage 'two of each application' result applications_beside
stage release result release
stage lints result lints
stage documentation result documentation
stage 'fuzz targets' result fuzz_targets
stage 'programs that print passwords' python3 tests/credentials/run.py
stage 'systemd units' bash tests/units.sh
stage demo bash deploy/local/demo.sh --once
stage Dockerfile "$cache/venv/bin/hadolint" Dockerfile
finish
