"""A stand-in for the one request that Vault sends to Kubernetes: whose token is this?

Owns: tokens of service accounts and the answers about them. Never knows: Vault.
"""

import base64
import http.server
import json
import threading


def encoded(value):
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def token(namespace, account):
    """As Kubernetes writes it; the signature is for the reviewer, here the stand-in."""
    claims = {"iss": "https://kubernetes.default.svc.cluster.local", "sub": f"system:serviceaccount:{namespace}:{account}",
              "kubernetes.io": {"namespace": namespace, "serviceaccount": {"name": account, "uid": f"uid-{account}"}}}
    return f"{encoded({'alg': 'RS256', 'typ': 'JWT'})}.{encoded(claims)}.c2lnbmF0dXJl"


class Review(http.server.BaseHTTPRequestHandler):
    def do_POST(self):  # noqa: N802: the name is http.server's
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        part = asked["spec"]["token"].split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
        about = claims["kubernetes.io"]["serviceaccount"]
        status = {"authenticated": True, "user": {"username": claims["sub"], "uid": about["uid"]}}
        body = json.dumps({**asked, "status": status}).encode()
        self.send_response(201)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def serve(address="127.0.0.1"):
    """Answers until the process ends; the URL."""
    server = http.server.ThreadingHTTPServer((address, 0), Review)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://{address}:{server.server_port}"
