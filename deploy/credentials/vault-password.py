#!/usr/bin/env python3
"""Prints user and password from HashiCorp Vault or OpenBao, as password_command takes it.

    password_command = ["/usr/lib/respgate/vault-password.py", "--path", "database/creds/app1", "--role", "app1"]
    password_command_env = ["VAULT_ADDR", "VAULT_CACERT", "VAULT_NAMESPACE"]

--path is read with a GET: database/creds/ROLE or database/static-creds/ROLE (the lease, or the next rotation, is
expires_at), or a secret of the key-value engine with the members username and password (kv/data/respgate/app1). It
logs in as the service account of the pod (--role, by the method of --mount), or with the token in --token-file, as an
agent keeps it. Only the standard library of Python is needed.

Each read of database/creds makes a user. The former one ends with its lease, so a lease must be longer than
upstream.pool.pinned_grace.
"""

import argparse
import json
import os
import ssl
import sys
import time
import urllib.request

ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount/token"
TIMEOUT = 5


def ask(path, token=None, data=None):
    headers = {"X-Vault-Request": "true"}
    if token:
        headers["X-Vault-Token"] = token
    if os.environ.get("VAULT_NAMESPACE"):
        headers["X-Vault-Namespace"] = os.environ["VAULT_NAMESPACE"]
    address = os.environ["VAULT_ADDR"].rstrip("/")
    body = json.dumps(data).encode() if data else None
    request = urllib.request.Request(f"{address}/v1/{path}", headers=headers, data=body)
    context = None
    if address.startswith("https:"):
        context = ssl.create_default_context(cafile=os.environ.get("VAULT_CACERT"))
    with urllib.request.urlopen(request, timeout=TIMEOUT, context=context) as reply:
        return json.loads(reply.read(1 << 20))


def read_line(file):
    with open(file, encoding="utf-8") as text:
        return text.read().strip()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--path", required=True)
    parser.add_argument("--token-file")
    parser.add_argument("--role", help="role of the Kubernetes login")
    parser.add_argument("--mount", default="kubernetes", help="where that login is mounted")
    parser.add_argument("--account-token", default=ACCOUNT)
    given = parser.parse_args()
    if given.token_file:
        token = read_line(given.token_file)
    elif given.role:
        login = {"role": given.role, "jwt": read_line(given.account_token)}
        token = ask(f"auth/{given.mount}/login", data=login)["auth"]["client_token"]
    else:
        parser.error("--token-file or --role is missing")
    now = int(time.time())
    reply = ask(given.path.strip("/"), token)
    data = reply["data"]
    # Version 2 of the key-value engine wraps the secret once more.
    data = data["data"] if isinstance(data.get("data"), dict) else data
    answer = {"password": data["password"]}
    if data.get("username"):
        answer["username"] = data["username"]
    lifetime = data.get("ttl") or (reply.get("lease_duration") if reply.get("lease_id") else None)
    if lifetime:
        answer["expires_at"] = now + int(lifetime)
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main()
