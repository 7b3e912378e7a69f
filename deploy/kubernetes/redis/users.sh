#!/bin/sh
# Writes users.acl with the passwords of /passwords to /run/redis: each file there is called as a user, or as a user with
# an ending (app1.next), and holds one password. Only hashes are written. A user without a file cannot log in.
set -eu
config=${1:-/etc/redis}
passwords=${2:-/passwords}
run=${3:-/run/redis}

umask 077
cp "$config/users.acl" "$run/users.acl"
for file in "$passwords"/*; do
  user=$(basename "$file")
  user=${user%%.*}
  grep -q "^user $user on " "$run/users.acl" || { echo "no user $user in users.acl for the password $file" >&2; exit 1; }
  hash=$(tr -d '\n' < "$file" | sha256sum | cut -d ' ' -f 1)
  sed -i "s/^user $user on /&#$hash /" "$run/users.acl"
done
