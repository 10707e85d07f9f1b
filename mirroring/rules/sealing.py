"""How a secret is kept: encrypted and authenticated by AES-256-GCM, under the first of a list of keys.

A sealed text is `v1.KEY.DATA`: which key it takes, then nonce and ciphertext. It opens only in the context that it was
sealed for (which row, which column), so that a copy in another row is worth nothing.
"""

import base64
import binascii
import hashlib
import os
from collections.abc import Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

VERSION = "v1"
KEY_BYTES = 32
NONCE_BYTES = 12


class BadKey(ValueError):
    """A text is no key."""


class CannotOpen(Exception):
    """A sealed text does not open: its key is not in the list, or it was changed or moved."""


def new_key() -> str:
    """Return a fresh key, as it is written into a list."""
    return base64.urlsafe_b64encode(os.urandom(KEY_BYTES)).decode()


def read_key(text: str) -> bytes:
    """Return the key that a text stands for, or raise BadKey."""
    try:
        key = base64.b64decode(text.strip().encode(), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != KEY_BYTES:
        raise BadKey("a key is 32 random bytes in URL-safe base64: `manage.py credential new-key` prints one")
    return key


def key_id(key: bytes) -> str:
    """Return the name of a key, from which nothing about the key can be learned."""
    return hashlib.sha256(b"mirroring credential key" + key).hexdigest()[:12]


def key_of(sealed: str) -> str:
    """Return the name of the key that a sealed text takes."""
    return sealed.split(".")[1] if sealed.count(".") == 2 else ""


def seal(text: str, *, keys: Sequence[bytes], context: str) -> str:
    """Return a text sealed by the first key."""
    nonce = os.urandom(NONCE_BYTES)
    data = nonce + AESGCM(keys[0]).encrypt(nonce, text.encode(), context.encode())
    return f"{VERSION}.{key_id(keys[0])}.{base64.urlsafe_b64encode(data).decode()}"


def unseal(sealed: str, *, keys: Sequence[bytes], context: str) -> str:
    """Return the text that was sealed, or raise CannotOpen."""
    version, _, rest = sealed.partition(".")
    name, _, data = rest.partition(".")
    key = {key_id(key): key for key in keys}.get(name)
    if version != VERSION or key is None:
        raise CannotOpen(f"the key {name or '?'} that it was sealed by is not in the list of keys")
    try:
        raw = base64.urlsafe_b64decode(data)
        return AESGCM(key).decrypt(raw[:NONCE_BYTES], raw[NONCE_BYTES:], context.encode()).decode()
    except (InvalidTag, ValueError):
        raise CannotOpen("it was changed since it was sealed, or belongs to another row") from None
