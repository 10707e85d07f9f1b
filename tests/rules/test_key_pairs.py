"""Private keys, judged by what OpenSSH itself says of them."""

import shutil
import subprocess

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

from mirroring.rules import key_pairs
from mirroring.rules.key_pairs import BadPrivateKey

needs_ssh_keygen = pytest.mark.skipif(not shutil.which("ssh-keygen"), reason="no ssh-keygen on this machine")


def pem_of(key, *, password=b""):
    encryption = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption
    ).decode()


@pytest.fixture(scope="module")
def rsa_key():
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@needs_ssh_keygen
def test_a_new_key_is_one_that_ssh_reads_with_this_public_half_and_fingerprint(tmp_path):
    pair = key_pairs.new_ssh_key()
    file = tmp_path / "key"
    file.touch(mode=0o600)
    file.write_text(pair.private)

    public = subprocess.run(
        ["ssh-keygen", "-y", "-f", file], capture_output=True, text=True, check=True
    ).stdout
    shown = subprocess.run(
        ["ssh-keygen", "-l", "-f", file], capture_output=True, text=True, check=True
    ).stdout

    assert public.split()[:2] == pair.public.split()[:2]
    assert pair.fingerprint in shown


@needs_ssh_keygen
@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
def test_a_key_that_ssh_keygen_made_is_read_whatever_its_line_ends(tmp_path, kind):
    file = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-f", file], check=True)

    pair = key_pairs.read_ssh_key(file.read_text().replace("\n", "\r\n"))

    assert pair.public.split()[:2] == (tmp_path / "key.pub").read_text().split()[:2]


def test_no_two_new_keys_are_the_same():
    assert key_pairs.new_ssh_key().fingerprint != key_pairs.new_ssh_key().fingerprint


def test_a_key_with_a_passphrase_is_refused_with_what_to_do():
    text = pem_of(ed25519.Ed25519PrivateKey.generate(), password=b"passphrase")

    with pytest.raises(BadPrivateKey, match="passphrase"):
        key_pairs.read_ssh_key(text)


@pytest.mark.parametrize(
    "text", ["", "ssh-ed25519 AAAAC3 you@host", "-----BEGIN OPENSSH PRIVATE KEY-----\nxx\n"]
)
def test_what_is_no_private_key_is_refused(text):
    with pytest.raises(BadPrivateKey, match="no private SSH key"):
        key_pairs.read_ssh_key(text)


def test_a_short_rsa_key_is_refused():
    weak = rsa.generate_private_key(public_exponent=65537, key_size=1024)

    with pytest.raises(BadPrivateKey, match="1024 bits"):
        key_pairs.read_ssh_key(pem_of(weak))


def test_an_app_takes_an_rsa_key_only(rsa_key):
    assert key_pairs.read_app_key(pem_of(rsa_key)).fingerprint.startswith("SHA256:")
    with pytest.raises(BadPrivateKey, match="GitHub App"):
        key_pairs.read_app_key(key_pairs.new_ssh_key().private)


def test_a_pair_does_not_show_its_private_half():
    pair = key_pairs.new_ssh_key()

    assert pair.private.splitlines()[1] not in repr(pair)
