#!/usr/bin/env bash
# redis-benchmark's own tests, short: usage `redis-benchmark.sh HOST PORT`.
set -euo pipefail
benchmark=(redis-benchmark -h "$1" -p "$2" -q)

# Runs the benchmark; any error it prints, and any test without a figure, fails.
run() {
  local output
  output=$("${benchmark[@]}" "$@" 2>&1 | tr '\r' '\n')
  if grep -qiE 'error|closed|refused' <<< "$output" || ! grep -q 'requests per second' <<< "$output"; then
    printf '%s\n%s\n' "redis-benchmark $*" "$output"
    exit 1
  fi
}

run -n 5000 -c 50
run -n 50000 -c 50 -P 32 -r 10000 -t set,get,incr,lpush,lpop,sadd,hset,zadd
run -n 20000 -c 20 -P 16 -d 4000 -t set,get
run -n 200 -c 5 -d 300000 -t set,get
run -n 2000 -c 10 --threads 2 -t set,get
run -n 2000 -c 200 -3 -t get
run -n 2000 -c 10 --dbnum 3 -r 1000 eval "return redis.call('SET', KEYS[1], ARGV[1])" 1 k:__rand_int__ x
