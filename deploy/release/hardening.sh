#!/usr/bin/env bash
# hardening.sh PROGRAM [--stack]: what the linker and the compiler of C have done to protect the program:
#   PIE            loaded at a random address
#   RELRO, NOW     tables of addresses are read-only from the start on
#   NX             neither the stack nor data can be executed, and no code can be written
#   no RPATH       libraries come from the system's directories alone
#   --stack        functions in C check their stack frame (deploy/release/build.sh)
# Rust's own functions need no such check: indices and lifetimes are checked, and each stack has a guard page.
set -euo pipefail
program=$1 failed=0
header=$(readelf --wide --file-header "$program")
segments=$(readelf --wide --program-headers "$program")
dynamic=$(readelf --wide --dynamic "$program")

# check NAME COMMAND...: prints whether the command succeeds.
check() {
  local name=$1
  shift
  if "$@"; then echo "ok   $name"; else echo "FAIL $name: $program" && failed=1; fi
}
has() { grep -Eq "$2" <<< "$1"; }
lacks() { ! has "$@"; }

check 'PIE: loaded at a random address' has "$header" 'Type: +DYN'
check 'PIE: marked as a program' has "$dynamic" 'FLAGS_1.*PIE'
check 'RELRO: a segment that becomes read-only' has "$segments" '^ +GNU_RELRO '
check 'NOW: addresses are resolved at the start' has "$dynamic" 'BIND_NOW|FLAGS_1.*NOW'
check 'NX: a stack that is not executable' has "$segments" '^ +GNU_STACK .* RW +0'
check 'NX: no segment is writable and executable' lacks "$segments" '^ +LOAD .* RWE '
check 'no code is changed when it is loaded' lacks "$dynamic" 'TEXTREL'
check 'no path to libraries of its own' lacks "$dynamic" '\((RPATH|RUNPATH)\)'
if [[ ${2:-} == --stack ]]; then
  symbols=$(readelf --wide --dyn-syms "$program")
  check 'functions in C check their stack frame' has "$symbols" ' UND __stack_chk_fail'
fi
exit "$failed"
