#!/usr/bin/env bash
# A day in the life of redis-cli: usage `redis-cli.sh HOST PORT`.
set -euo pipefail
host=$1 port=$2

# Runs redis-cli and compares what it prints.
expect() {
  local expected=$1 got
  shift
  got=$("$@" 2>&1) || true
  if [[ "$got" != "$expected" ]]; then
    printf 'command:  %s\nexpected: %s\ngot:      %s\n' "$*" "$expected" "$got"
    exit 1
  fi
}

for protocol in -2 -3; do
  cli=(redis-cli "$protocol" -h "$host" -p "$port")
  expect PONG "${cli[@]}" PING
  expect OK "${cli[@]}" SET k 'two words'
  expect 'two words' "${cli[@]}" GET k
  expect '' "${cli[@]}" GET none
  expect OK "${cli[@]}" -n 3 SET where three
  expect three "${cli[@]}" -n 3 GET where
  expect $'OK\nQUEUED\nQUEUED\nOK\nfrom a pipe' \
    bash -c "printf 'MULTI\nSET k \"from a pipe\"\nGET k\nEXEC\n' | ${cli[*]}"
  expect 1 "${cli[@]}" EVAL 'return #KEYS' 1 x
  expect "ERR wrong number of arguments for 'get' command" "${cli[@]}" GET
  expect "ERR unknown command 'NOSUCH', with args beginning with: 'a' " "${cli[@]}" NOSUCH a
done
cli=(redis-cli -h "$host" -p "$port")

# The bulk loader: raw protocol in, one ECHO at its end.
for number in $(seq 1 20000); do
  printf '*3\r\n$3\r\nSET\r\n$%d\r\nload%d\r\n$1\r\nx\r\n' "$((4 + ${#number}))" "$number"
done | "${cli[@]}" --pipe | grep 'errors: 0, replies: 20000' > /dev/null
expect 20000 bash -c "${cli[*]} --scan --pattern 'load*' | sort -u | wc -l"
"${cli[@]}" --bigkeys | grep 'Biggest string' > /dev/null
"${cli[@]}" INFO server | grep redis_version > /dev/null

# A subscriber prints what is published, and ends with the signal.
out=$(mktemp)
trap 'rm -f "$out"' EXIT
"${cli[@]}" --csv SUBSCRIBE news > "$out" &
subscriber=$!
for _ in $(seq 2000); do
  [[ $("${cli[@]}" PUBLISH news hello) == 1 ]] && break
  sleep 0.02
done
for _ in $(seq 2000); do
  grep -q '"message","news","hello"' "$out" && break
  sleep 0.02
done
kill "$subscriber"
grep -q '"message","news","hello"' "$out"
