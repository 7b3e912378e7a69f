"""A certificate authority, as cert-manager would be: signs certificates for the server and its clients."""

import datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

DAY = datetime.timedelta(days=1)


def name(text):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def builder(subject, issuer, key):
    now = datetime.datetime.now(datetime.timezone.utc)
    found = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key.public_key())
    return found.serial_number(x509.random_serial_number()).not_valid_before(now - DAY / 24).not_valid_after(now + DAY)


def pem(certificate):
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


class Authority:
    def __init__(self, text):
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = name(text)
        constraints = x509.BasicConstraints(ca=True, path_length=None)
        made = builder(self.name, self.name, self.key).add_extension(constraints, critical=True)
        self.pem = pem(made.sign(self.key, hashes.SHA256()))

    def issue(self, subject, usage, names=()):
        """`tls.crt`, `tls.key` and `ca.crt` of a new key, as in a Secret of cert-manager."""
        key = ec.generate_private_key(ec.SECP256R1())
        made = builder(name(subject), self.name, key)
        made = made.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        if names:
            made = made.add_extension(x509.SubjectAlternativeName([x509.DNSName(each) for each in names]), critical=False)
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        return {"tls.crt": pem(made.sign(self.key, hashes.SHA256())), "tls.key": private.decode(), "ca.crt": self.pem}

    def client(self, subject):
        return self.issue(subject, ExtendedKeyUsageOID.CLIENT_AUTH)

    def server(self, certificate):
        """A server certificate as a Certificate of cert-manager specifies it."""
        spec = certificate["spec"]
        return self.issue(spec["commonName"], ExtendedKeyUsageOID.SERVER_AUTH, spec["dnsNames"])
