#!/usr/bin/env python3
"""The programs of deploy/credentials print what password_command takes: against fakes of the services, offline."""

import base64
import datetime
import http.server
import importlib.util
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import urllib.parse

PROGRAMS = pathlib.Path(__file__).resolve().parents[2] / "deploy" / "credentials"


class Fake:
    """Answers by a function of method, path, headers and body: a text, or None for 404."""

    def __init__(self, answer):
        self.asked = []
        fake = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def answer(self):
                length = int(self.headers.get("Content-Length", 0))
                body = self.rfile.read(length).decode()
                fake.asked.append((self.command, self.path))
                text = answer(self.command, self.path, self.headers, body)
                self.send_response(200 if text is not None else 404)
                self.end_headers()
                self.wfile.write((text or "").encode())

            do_GET = do_POST = do_PUT = answer

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


def run(name, *arguments, **environment):
    """Runs a program as password_command does: in / and with this environment alone."""
    done = subprocess.run([sys.executable, PROGRAMS / name, *arguments], cwd="/", env=environment, text=True,
                          stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False)
    if done.returncode != 0:
        raise RuntimeError(done.stderr)
    return json.loads(done.stdout)


def load(name):
    spec = importlib.util.spec_from_file_location(name.replace("-", "_"), PROGRAMS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Elasticache(unittest.TestCase):
    # The credentials of AWS's own documentation.
    KEYS = ("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", None)

    def test_signature_is_that_of_the_documentation(self):
        """Amazon S3, "Authenticating Requests: Using Query Parameters (AWS Signature Version 4)", example."""
        moment = datetime.datetime(2013, 5, 24, tzinfo=datetime.timezone.utc)
        url = load("elasticache-token").presign("examplebucket.s3.amazonaws.com", "/test.txt", {}, "s3", "us-east-1",
                                                self.KEYS, moment, 86400, "UNSIGNED-PAYLOAD")
        self.assertTrue(url.endswith("&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"))
        self.assertTrue(url.startswith("examplebucket.s3.amazonaws.com/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256&"))

    def check(self, answer, service="elasticache", **more):
        self.assertEqual(answer["username"], "app1")
        self.assertLess(abs(answer["expires_at"] - time.time() - 900), 60)
        host, query = answer["password"].split("/?")
        self.assertEqual(host, "cache1")
        words = dict(urllib.parse.parse_qsl(query))
        self.assertEqual((words["Action"], words["User"], words["X-Amz-Expires"]), ("connect", "app1", "900"))
        self.assertIn(f"/eu-west-1/{service}/aws4_request", words["X-Amz-Credential"])
        for name, value in more.items():
            self.assertEqual(words[name.replace("_", "-")], value)

    def test_keys_of_the_environment(self):
        keys = {"AWS_ACCESS_KEY_ID": "AK", "AWS_SECRET_ACCESS_KEY": "SK", "AWS_REGION": "eu-west-1"}
        words = ["--cluster", "Cache1", "--user", "app1"]
        self.check(run("elasticache-token.py", *words, **keys))
        self.check(run("elasticache-token.py", *words, "--service", "memorydb", **keys), service="memorydb")
        answer = run("elasticache-token.py", *words, "--serverless", AWS_SESSION_TOKEN="S+T/=", **keys)
        self.check(answer, X_Amz_Security_Token="S+T/=", ResourceType="ServerlessCache")

    def test_keys_of_a_service_account(self):
        def sts(method, path, headers, body):
            words = dict(urllib.parse.parse_qsl(body))
            fits = (method, words["RoleArn"], words["WebIdentityToken"]) == ("POST", "arn:role", "jwt")
            keys = "<AccessKeyId>AK</AccessKeyId><SecretAccessKey>SK</SecretAccessKey><SessionToken>ST</SessionToken>"
            return f"<R xmlns='https://sts.amazonaws.com/doc/2011-06-15/'><Credentials>{keys}</Credentials></R>" if fits else None

        with Fake(sts) as fake, tempfile.NamedTemporaryFile("w") as token:
            token.write("jwt\n")
            token.flush()
            answer = run("elasticache-token.py", "--cluster", "cache1", "--user", "app1", AWS_REGION="eu-west-1",
                         AWS_ROLE_ARN="arn:role", AWS_WEB_IDENTITY_TOKEN_FILE=token.name, AWS_ENDPOINT_URL_STS=fake.url)
        self.check(answer, X_Amz_Security_Token="ST")

    def test_keys_of_a_container_and_of_an_instance(self):
        keys = json.dumps({"AccessKeyId": "AK", "SecretAccessKey": "SK", "Token": "ST"})

        def metadata(method, path, headers, _):
            if path == "/container":
                return keys if headers["Authorization"] == "secret" else None
            if (method, path) == ("PUT", "/latest/api/token"):
                return "tok"
            if headers["X-aws-ec2-metadata-token"] != "tok":
                return None
            return {"/latest/meta-data/iam/security-credentials/": "role1",
                    "/latest/meta-data/iam/security-credentials/role1": keys}.get(path)

        with Fake(metadata) as fake:
            for more in ({"AWS_CONTAINER_CREDENTIALS_FULL_URI": fake.url + "/container",
                          "AWS_CONTAINER_AUTHORIZATION_TOKEN": "secret"},
                         {"AWS_EC2_METADATA_SERVICE_ENDPOINT": fake.url}):
                answer = run("elasticache-token.py", "--cluster", "cache1", "--user", "app1", "--region", "eu-west-1", **more)
                self.check(answer, X_Amz_Security_Token="ST")


class Azure(unittest.TestCase):
    def token(self, end):
        part = lambda claims: base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
        return f"{part({'alg': 'none'})}.{part({'oid': 'object-1', 'exp': end})}.sig"

    def test_identities(self):
        end = int(time.time()) + 3600
        token = self.token(end)

        def service(method, path, headers, body):
            if method == "GET":
                query = urllib.parse.parse_qs(urllib.parse.urlsplit(path).query)
                fits = headers["Metadata"] == "true" and query["resource"] == ["https://redis.azure.com"]
            else:
                words = dict(urllib.parse.parse_qsl(body))
                fits = path == "/tenant-1/oauth2/v2.0/token" and words["client_assertion"] == "jwt"
                fits = fits and words["scope"] == "https://redis.azure.com/.default"
            return json.dumps({"access_token": token}) if fits else None

        with Fake(service) as fake, tempfile.NamedTemporaryFile("w") as jwt:
            jwt.write("jwt")
            jwt.flush()
            machine = run("azure-token.py", AZURE_POD_IDENTITY_AUTHORITY_HOST=fake.url)
            workload = run("azure-token.py", AZURE_AUTHORITY_HOST=fake.url, AZURE_TENANT_ID="tenant-1",
                           AZURE_CLIENT_ID="client-1", AZURE_FEDERATED_TOKEN_FILE=jwt.name)
        expected = {"username": "object-1", "password": token, "expires_at": end}
        self.assertEqual((machine, workload), (expected, expected))


class Google(unittest.TestCase):
    def test_token_of_the_metadata_server(self):
        def metadata(_, path, headers, __):
            fits = headers["Metadata-Flavor"] == "Google" and path.endswith("/service-accounts/default/token")
            return json.dumps({"access_token": "ya29.x", "expires_in": 3599}) if fits else None

        with Fake(metadata) as fake:
            answer = run("google-token.py", GCE_METADATA_HOST=fake.url.removeprefix("http://"))
        self.assertEqual((answer["username"], answer["password"]), ("default", "ya29.x"))
        self.assertLess(abs(answer["expires_at"] - time.time() - 3599), 60)


class Vault(unittest.TestCase):
    def test_secrets(self):
        dynamic = {"lease_id": "l", "lease_duration": 3600, "data": {"username": "v-app1", "password": "dynamic"}}
        static = {"lease_id": "", "lease_duration": 0, "data": {"username": "app1", "password": "static", "ttl": 600}}
        kv = {"lease_id": "", "lease_duration": 0, "data": {"data": {"password": "kv"}, "metadata": {"version": 3}}}

        def vault(method, path, headers, body):
            if (method, path) == ("POST", "/v1/auth/kubernetes/login"):
                fits = json.loads(body) == {"role": "app1", "jwt": "jwt"}
                return json.dumps({"auth": {"client_token": "tok"}}) if fits else None
            if headers["X-Vault-Token"] != "tok":
                return None
            found = {"/v1/database/creds/app1": dynamic, "/v1/database/static-creds/app1": static,
                     "/v1/kv/data/app1": kv}.get(path)
            return json.dumps(found) if found else None

        with Fake(vault) as fake, tempfile.TemporaryDirectory() as home:
            jwt, token = os.path.join(home, "jwt"), os.path.join(home, "token")
            pathlib.Path(jwt).write_text("jwt\n", encoding="utf-8")
            pathlib.Path(token).write_text("tok\n", encoding="utf-8")
            ask = lambda *words: run("vault-password.py", *words, VAULT_ADDR=fake.url)
            by_role = ask("--path", "database/creds/app1", "--role", "app1", "--account-token", jwt)
            self.assertEqual((by_role["username"], by_role["password"]), ("v-app1", "dynamic"))
            self.assertLess(abs(by_role["expires_at"] - time.time() - 3600), 60)
            by_token = ask("--path", "database/static-creds/app1", "--token-file", token)
            self.assertLess(abs(by_token.pop("expires_at") - time.time() - 600), 60)
            self.assertEqual(by_token, {"username": "app1", "password": "static"})
            self.assertEqual(ask("--path", "kv/data/app1", "--token-file", token), {"password": "kv"})
            with self.assertRaises(RuntimeError):
                ask("--path", "kv/data/other", "--token-file", token)


if __name__ == "__main__":
    unittest.main()
