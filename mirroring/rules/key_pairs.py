"""Private keys: made, read, and told apart by the fingerprints that people compare."""

import base64
import hashlib
from dataclasses import dataclass, field

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

MIN_RSA_BITS = 2048


class BadPrivateKey(ValueError):
    """A text is no private key that can be used; the message says what to give instead."""


@dataclass(frozen=True)
class KeyPair:
    """A private key with what may be shown of it."""

    private: str = field(repr=False)
    public: str
    fingerprint: str


def new_ssh_key() -> KeyPair:
    """Return a new Ed25519 key."""
    key = ed25519.Ed25519PrivateKey.generate()
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )
    return read_ssh_key(private.decode())


def read_ssh_key(text: str) -> KeyPair:
    """Return the pair of a private SSH key without passphrase, or raise BadPrivateKey."""
    pem = _normal(text)
    try:
        if "BEGIN OPENSSH PRIVATE KEY" in text:
            key = serialization.load_ssh_private_key(pem, password=None)
        else:
            key = serialization.load_pem_private_key(pem, password=None)  # type: ignore[assignment]
        public = key.public_key().public_bytes(
            serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
        )
    except TypeError:
        raise BadPrivateKey(
            "The key has a passphrase: take it off a copy (`ssh-keygen -p -N '' -f COPY`), it is encrypted here"
        ) from None
    except (ValueError, UnsupportedAlgorithm, AttributeError):
        if "ENCRYPTED" in text:
            raise BadPrivateKey("The key has a passphrase: take it off a copy (`ssh-keygen -p`)") from None
        raise BadPrivateKey(
            "That is no private SSH key: give the whole file, from -----BEGIN to -----END, not the .pub"
        ) from None
    if isinstance(key, rsa.RSAPrivateKey) and key.key_size < MIN_RSA_BITS:
        raise BadPrivateKey(f"The RSA key has {key.key_size} bits only: make an Ed25519 key")
    digest = hashlib.sha256(base64.b64decode(public.split()[1])).digest()
    fingerprint = "SHA256:" + base64.b64encode(digest).decode().rstrip("=")
    return KeyPair(private=pem.decode(), public=public.decode(), fingerprint=fingerprint)


def read_app_key(text: str) -> KeyPair:
    """Return the pair of a GitHub App's private key (RSA, PEM), or raise BadPrivateKey."""
    pem = _normal(text)
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except (TypeError, ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, rsa.RSAPrivateKey) or key.key_size < MIN_RSA_BITS:
        raise BadPrivateKey(
            "That is no private key of a GitHub App: give the .pem file that GitHub made, an RSA key"
        )
    der = key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    # The form in which GitHub lists the keys of an app.
    fingerprint = "SHA256:" + base64.b64encode(hashlib.sha256(der).digest()).decode()
    return KeyPair(private=pem.decode(), public="", fingerprint=fingerprint)


def _normal(text: str) -> bytes:
    """Return a key file with the line ends and the last line end that all readers of keys take."""
    return (text.replace("\r\n", "\n").strip() + "\n").encode()
