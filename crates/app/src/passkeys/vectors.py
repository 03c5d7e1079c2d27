"""Writes vectors.json: passkeys and their answers, right ones and wrong ones, as an implementation of its own makes them
(the `cryptography` package for the keys; CBOR and the rest by hand here). Run it with `$(scripts/need-cryptography)`."""

import base64
import hashlib
import json
import pathlib
import struct

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

SITE, ORIGIN, ID = "stet.example.org", "https://stet.example.org", bytes(range(32))
CHALLENGE = hashlib.sha256(b"what is to be signed").digest()


def cbor(value):
    def head(major, number):
        if number < 24:
            return bytes([major << 5 | number])
        if number < 256:
            return bytes([major << 5 | 24, number])
        return bytes([major << 5 | 25]) + struct.pack(">H", number)

    if isinstance(value, int):
        return head(0, value) if value >= 0 else head(1, -1 - value)
    if isinstance(value, bytes):
        return head(2, len(value)) + value
    if isinstance(value, str):
        return head(3, len(value.encode())) + value.encode()
    return head(5, len(value)) + b"".join(cbor(key) + cbor(item) for key, item in value.items())


def client_data(kind, **changes):
    data = {"type": kind, "challenge": base64.urlsafe_b64encode(CHALLENGE).rstrip(b"=").decode(), "origin": ORIGIN}
    data["crossOrigin"] = False
    data.update(changes)
    return json.dumps(data).encode()


def authenticator_data(flags=0x1D, count=7, site=SITE, credential=b"", extensions=b""):
    return hashlib.sha256(site.encode()).digest() + bytes([flags]) + struct.pack(">I", count) + credential + extensions


def credential(key):
    return bytes(16) + struct.pack(">H", len(ID)) + ID + cbor(key)


def point(private):
    return private.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


p256, edwards = ec.generate_private_key(ec.SECP256R1()), ed25519.Ed25519PrivateKey.generate()
other = ec.generate_private_key(ec.SECP256R1())
raw_edwards = edwards.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
rsa_key = rsa.generate_private_key(65537, 2048)
modulus = rsa_key.public_key().public_numbers().n.to_bytes(256)
rs256 = {1: 3, 3: -257, -1: modulus, -2: b"\x01\x00\x01"}
es256 = {1: 2, 3: -7, -1: 1, -2: point(p256)[1:33], -3: point(p256)[33:]}
eddsa = {1: 1, 3: -8, -1: 6, -2: raw_edwards}


def sign(private, data, client):
    message = data + hashlib.sha256(client).digest()
    if private is rsa_key:
        return private.sign(message, padding.PKCS1v15(), hashes.SHA256())
    return private.sign(message) if private is edwards else private.sign(message, ec.ECDSA(hashes.SHA256()))


def made(name, error=None, key=es256, flags=0x5D, client=None, fmt="none", statement=None, cut=0, tail=b"", **rest):
    data = authenticator_data(flags, credential=credential(key), **rest)
    attestation = cbor({"fmt": fmt, "attStmt": statement or {}, "authData": data}) + tail
    attestation = attestation[: len(attestation) - cut]
    client = client or client_data("webauthn.create")
    return {"name": name, "error": error, "client_data": client.hex(), "attestation": attestation.hex()}


def asserted(name, error=None, private=p256, client=None, known=6, data=None, spoil=False, **rest):
    data = data if data is not None else authenticator_data(**rest)
    client = client or client_data("webauthn.get")
    signature = bytearray(sign(private, data, client))
    if spoil:
        signature[-1] ^= 1
    return {
        "name": name, "error": error, "known": known,
        "key": "eddsa" if private is edwards else "rs256" if private is rsa_key else "es256",
        "client_data": client.hex(), "data": data.hex(), "signature": bytes(signature).hex(),
    }


wrong_challenge = base64.urlsafe_b64encode(hashlib.sha256(b"another question").digest()).rstrip(b"=").decode()
extension = cbor({"credProtect": 2})
vectors = {
    "site": SITE, "origin": ORIGIN, "challenge": CHALLENGE.hex(), "id": ID.hex(),
    "es256": "es256:" + base64.b64encode(point(p256)).decode(),
    "eddsa": "ed25519-passkey:" + base64.b64encode(raw_edwards).decode(),
    "rs256": "rs256:AQAB:" + base64.b64encode(modulus).decode(),
    "made": [
        made("ES256"), made("Ed25519", key=eddsa), made("RS256", key=rs256), made("with an extension", flags=0xDD, extensions=extension),
        made("another origin", "Origin", client=client_data("webauthn.create", origin="https://evil.example")),
        made("below another page", "Origin", client=client_data("webauthn.create", crossOrigin=True)),
        made("another challenge", "Challenge", client=client_data("webauthn.create", challenge=wrong_challenge)),
        made("an assertion", "Type", client=client_data("webauthn.get")),
        made("another site", "RelyingParty", site="evil.example"),
        made("nobody there", "NotPresent", flags=0x5C), made("nobody verified", "NotVerified", flags=0x59),
        made("backed up and cannot be", "Backup", flags=0x55), made("no credential", "Unreadable", flags=0x1D),
        made("RSA with SHA-1", "Algorithm", key={**rs256, 3: -65535}),
        made("RSA of 1024 bits", "Algorithm", key={**rs256, -1: modulus[:128]}),
        made("ES256 on P-384", "Algorithm", key={**es256, -1: 2}),
        made("ES384", "Algorithm", key={**es256, 3: -35}),
        made("a short coordinate", "Algorithm", key={**es256, -2: bytes(31)}),
        made("an attestation", "Attestation", fmt="packed", statement={"alg": -7, "sig": b"x"}),
        made("none with a statement", "Attestation", statement={"sig": b"x"}),
        made("cut short by one", "Unreadable", cut=1), made("cut in half", "Unreadable", cut=90),
        made("with something behind", "Unreadable", tail=b"\x00"),
        made("an extension that is not told", "Unreadable", extensions=extension),
        made("no JSON", "Unreadable", client=b"nonsense"),
    ],
    "asserted": [
        asserted("ES256"), asserted("Ed25519", private=edwards), asserted("RS256", private=rsa_key),
        asserted("a spoiled signature of RSA", "Signature", private=rsa_key, spoil=True), asserted("never used before", known=None),
        asserted("an authenticator that does not count", count=0, known=0),
        asserted("with an extension", flags=0x9D, extensions=extension),
        asserted("another origin", "Origin", client=client_data("webauthn.get", origin="https://evil.example")),
        asserted("the origin with a port", "Origin", client=client_data("webauthn.get", origin=ORIGIN + ":8443")),
        asserted("not encrypted", "Origin", client=client_data("webauthn.get", origin="http://stet.example.org")),
        asserted("below another page", "Origin", client=client_data("webauthn.get", topOrigin="https://evil.example")),
        asserted("another challenge", "Challenge", client=client_data("webauthn.get", challenge=wrong_challenge)),
        asserted("a registration", "Type", client=client_data("webauthn.create")),
        asserted("another site", "RelyingParty", site="evil.example"),
        asserted("nobody there", "NotPresent", flags=0x1C), asserted("nobody verified", "NotVerified", flags=0x19),
        asserted("backed up and cannot be", "Backup", flags=0x15),
        asserted("by another passkey", "Signature", private=other), asserted("a spoiled signature", "Signature", spoil=True),
        asserted("used before", "Counter", known=7), asserted("counted backwards", "Counter", known=8),
        asserted("counted backwards to nothing", "Counter", known=8, count=0),
        asserted("cut short", "Unreadable", data=authenticator_data()[:36]),
        asserted("with something behind", "Unreadable", data=authenticator_data() + b"\x00"),
    ],
}
path = pathlib.Path(__file__).with_name("vectors.json")
path.write_text(json.dumps(vectors, indent=1) + "\n")
