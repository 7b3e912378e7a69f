#!/usr/bin/env python3
"""Prints a token for the IAM login of Amazon ElastiCache or MemoryDB, as password_command takes it.

    password_command = ["/usr/lib/respgate/elasticache-token.py", "--cluster", "cache1", "--user", "app1"]
    password_command_env = ["AWS_REGION", "AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE"]

The token is a signed URL (Signature Version 4) that holds for 15 minutes. What signs it is looked for in this
order: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (and AWS_SESSION_TOKEN); a role by AWS_ROLE_ARN and
AWS_WEB_IDENTITY_TOKEN_FILE (EKS: service accounts); AWS_CONTAINER_CREDENTIALS_FULL_URI or _RELATIVE_URI (EKS pod
identity, ECS); the role of the EC2 instance (IMDSv2). Only the standard library of Python is needed.
"""

import argparse
import datetime
import hashlib
import hmac
import json
import os
import sys
import time
import urllib.parse
import urllib.request
import xml.etree.ElementTree

LIFETIME = 900
TIMEOUT = 5
METADATA = os.environ.get("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://169.254.169.254").rstrip("/")
CONTAINER = "http://169.254.170.2"


def fetch(url, headers=None, method="GET", data=None):
    """The body behind a URL; proxies are not used, for the metadata services are on the machine's own link."""
    request = urllib.request.Request(url, headers=headers or {}, method=method, data=data)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=TIMEOUT) as reply:
        return reply.read(1 << 20)


def keys_of_environment():
    if os.environ.get("AWS_ACCESS_KEY_ID") and os.environ.get("AWS_SECRET_ACCESS_KEY"):
        names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
        return tuple(os.environ.get(name) for name in names)
    return None


def keys_of_web_identity(region):
    role, file = os.environ.get("AWS_ROLE_ARN"), os.environ.get("AWS_WEB_IDENTITY_TOKEN_FILE")
    if not role or not file:
        return None
    with open(file, encoding="utf-8") as token:
        words = {
            "Action": "AssumeRoleWithWebIdentity",
            "Version": "2011-06-15",
            "RoleArn": role,
            "RoleSessionName": os.environ.get("AWS_ROLE_SESSION_NAME", "respgate"),
            "WebIdentityToken": token.read().strip(),
        }
    endpoint = os.environ.get("AWS_ENDPOINT_URL_STS", f"https://sts.{region}.amazonaws.com/")
    body = fetch(endpoint, method="POST", data=urllib.parse.urlencode(words).encode())
    found = {}
    for element in xml.etree.ElementTree.fromstring(body).iter():
        found[element.tag.rsplit("}", 1)[-1]] = element.text
    return found["AccessKeyId"], found["SecretAccessKey"], found["SessionToken"]


def keys_of_json(body):
    found = json.loads(body)
    return found["AccessKeyId"], found["SecretAccessKey"], found.get("Token")


def keys_of_container():
    url = os.environ.get("AWS_CONTAINER_CREDENTIALS_FULL_URI")
    relative = os.environ.get("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI")
    if not url and not relative:
        return None
    headers = {}
    file = os.environ.get("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE")
    if file:
        with open(file, encoding="utf-8") as token:
            headers["Authorization"] = token.read().strip()
    elif os.environ.get("AWS_CONTAINER_AUTHORIZATION_TOKEN"):
        headers["Authorization"] = os.environ["AWS_CONTAINER_AUTHORIZATION_TOKEN"]
    return keys_of_json(fetch(url or CONTAINER + relative, headers))


def keys_of_instance():
    lifetime = {"X-aws-ec2-metadata-token-ttl-seconds": "60"}
    token = fetch(METADATA + "/latest/api/token", lifetime, method="PUT").decode()
    headers = {"X-aws-ec2-metadata-token": token}
    roles = METADATA + "/latest/meta-data/iam/security-credentials/"
    role = fetch(roles, headers).decode().split()[0]
    return keys_of_json(fetch(roles + role, headers))


def presign(host, path, words, service, region, keys, moment, lifetime, payload):
    """The URL without its scheme, signed by Signature Version 4 in the query."""
    access, secret, session = keys
    date, stamp = moment.strftime("%Y%m%d"), moment.strftime("%Y%m%dT%H%M%SZ")
    scope = f"{date}/{region}/{service}/aws4_request"
    words = dict(words)
    words.update({
        "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
        "X-Amz-Credential": f"{access}/{scope}",
        "X-Amz-Date": stamp,
        "X-Amz-Expires": str(lifetime),
        "X-Amz-SignedHeaders": "host",
    })
    if session:
        words["X-Amz-Security-Token"] = session
    quote = lambda text: urllib.parse.quote(text, safe="-_.~")
    query = "&".join(f"{quote(name)}={quote(value)}" for name, value in sorted(words.items()))
    request = "\n".join(["GET", path, query, f"host:{host}", "", "host", payload])
    digest = hashlib.sha256(request.encode()).hexdigest()
    key = b"AWS4" + secret.encode()
    for part in (date, region, service, "aws4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    text = "\n".join(["AWS4-HMAC-SHA256", stamp, scope, digest])
    signature = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
    return f"{host}{path}?{query}&X-Amz-Signature={signature}"


def token(service, cluster, user, region, keys, moment, serverless=False):
    words = {"Action": "connect", "User": user}
    if serverless:
        words["ResourceType"] = "ServerlessCache"
    empty = hashlib.sha256(b"").hexdigest()
    return presign(cluster, "/", words, service, region, keys, moment, LIFETIME, empty)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cluster", required=True, help="replication group, cluster or serverless cache")
    parser.add_argument("--user", required=True, help="user of the user group; its authentication mode is IAM")
    parser.add_argument("--region", default=os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION"))
    parser.add_argument("--service", choices=["elasticache", "memorydb"], default="elasticache")
    parser.add_argument("--serverless", action="store_true")
    given = parser.parse_args()
    if not given.region:
        parser.error("--region, or AWS_REGION in password_command_env, is missing")
    keys = (
        keys_of_environment()
        or keys_of_web_identity(given.region)
        or keys_of_container()
        or keys_of_instance()
    )
    now = int(time.time())
    moment = datetime.datetime.fromtimestamp(now, datetime.timezone.utc)
    cluster = given.cluster.lower()
    password = token(given.service, cluster, given.user, given.region, keys, moment, given.serverless)
    json.dump({"username": given.user, "password": password, "expires_at": now + LIFETIME}, sys.stdout)


if __name__ == "__main__":
    main()
