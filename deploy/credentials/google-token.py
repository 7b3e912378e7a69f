#!/usr/bin/env python3
"""Prints an access token of Google Cloud for Memorystore with IAM authentication, as password_command takes it.

    password_command = ["/usr/lib/respgate/google-token.py"]

The metadata server of the machine, or of GKE with workload identity, is asked for a token of the service account
(--account for another than the default one). It answers the same token until some minutes before its end, so the
program may be run at any time. Only the standard library of Python is needed.
"""

import argparse
import json
import os
import sys
import time
import urllib.parse
import urllib.request

METADATA = os.environ.get("GCE_METADATA_HOST", "metadata.google.internal")
TIMEOUT = 5


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--account", default="default", help="service account of the machine")
    parser.add_argument("--user", default="default", help="user name that the server expects")
    given = parser.parse_args()
    account = urllib.parse.quote(given.account)
    url = f"http://{METADATA}/computeMetadata/v1/instance/service-accounts/{account}/token"
    request = urllib.request.Request(url, headers={"Metadata-Flavor": "Google"})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    now = int(time.time())
    with opener.open(request, timeout=TIMEOUT) as reply:
        content = json.loads(reply.read(1 << 20))
    answer = {"username": given.user, "password": content["access_token"], "expires_at": now + int(content["expires_in"])}
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main()
