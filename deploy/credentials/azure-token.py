#!/usr/bin/env python3
"""Prints a token of Microsoft Entra ID for Azure Cache for Redis or Azure Managed Redis, as password_command takes it.

    password_command = ["/usr/lib/respgate/azure-token.py"]
    password_command_env = ["AZURE_CLIENT_ID", "AZURE_TENANT_ID", "AZURE_FEDERATED_TOKEN_FILE", "AZURE_AUTHORITY_HOST"]

With AZURE_FEDERATED_TOKEN_FILE (AKS: workload identity) the service account's token is exchanged; without it, the
managed identity of the machine is asked (AZURE_CLIENT_ID chooses one of several). The user name is the object id of
the identity, which the token names. Only the standard library of Python is needed.
"""

import base64
import json
import os
import sys
import urllib.parse
import urllib.request

RESOURCE = "https://redis.azure.com"
METADATA = os.environ.get("AZURE_POD_IDENTITY_AUTHORITY_HOST", "http://169.254.169.254").rstrip("/")
TIMEOUT = 5


def fetch(url, headers=None, data=None):
    """The object behind a URL; the metadata service is on the machine's own link, so no proxy is used."""
    request = urllib.request.Request(url, headers=headers or {}, data=data)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=TIMEOUT) as reply:
        return json.loads(reply.read(1 << 20))


def by_workload_identity(file):
    authority = os.environ.get("AZURE_AUTHORITY_HOST", "https://login.microsoftonline.com").rstrip("/")
    with open(file, encoding="utf-8") as token:
        words = {
            "client_id": os.environ["AZURE_CLIENT_ID"],
            "grant_type": "client_credentials",
            "scope": RESOURCE + "/.default",
            "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
            "client_assertion": token.read().strip(),
        }
    tenant = urllib.parse.quote(os.environ["AZURE_TENANT_ID"])
    return fetch(f"{authority}/{tenant}/oauth2/v2.0/token", data=urllib.parse.urlencode(words).encode())


def by_managed_identity():
    words = {"api-version": "2018-02-01", "resource": RESOURCE}
    if os.environ.get("AZURE_CLIENT_ID"):
        words["client_id"] = os.environ["AZURE_CLIENT_ID"]
    query = urllib.parse.urlencode(words)
    return fetch(f"{METADATA}/metadata/identity/oauth2/token?{query}", {"Metadata": "true"})


def claims(token):
    """What the token contains about itself. The server verifies it, not this program."""
    part = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))


def main():
    file = os.environ.get("AZURE_FEDERATED_TOKEN_FILE")
    token = (by_workload_identity(file) if file else by_managed_identity())["access_token"]
    content = claims(token)
    json.dump({"username": content["oid"], "password": token, "expires_at": content["exp"]}, sys.stdout)


if __name__ == "__main__":
    main()
