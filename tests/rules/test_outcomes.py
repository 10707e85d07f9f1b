import pytest

from mirroring.rules.hosts import Signal
from mirroring.rules.outcomes import SUCCESSES, Outcome, classify, signal_of

# What git and ssh say in cases that no server of the lab can bring about; the others are in tests/upstream.
CASES = [
    ("git@host: Permission denied (publickey,password).", Outcome.AUTH),
    ("Host key verification failed.\nfatal: Could not read from remote repository.", Outcome.AUTH),
    ("remote: Repository not found.\nfatal: repository 'https://h/x/' not found", Outcome.GONE),
    ("fatal: 'x.git' does not appear to be a git repository", Outcome.GONE),
    ("fatal: https://h/x/info/refs not valid: is this a git repository?", Outcome.GONE),
    ("error: RPC failed; curl 28 Operation too slow. Less than 1 bytes/sec", Outcome.HUNG),
    ("fatal: unable to access 'https://h/': Operation timed out after 30001 milliseconds", Outcome.HUNG),
    ("fatal: write error: No space left on device", Outcome.RESOURCE),
    ("error: unable to write file: Disk quota exceeded", Outcome.RESOURCE),
    ("fatal: cannot create thread: Cannot allocate memory", Outcome.RESOURCE),
    ("fatal: Out of memory, malloc failed (tried to allocate 5 bytes)", Outcome.RESOURCE),
    ("error: could not lock: Read-only file system", Outcome.RESOURCE),
    ("error: index-pack died of signal 25", Outcome.RESOURCE),
    ("error: object file objects/ab/cd is empty", Outcome.CORRUPT),
    ("error: loose object abcd (stored in objects/ab/cd) is corrupt", Outcome.CORRUPT),
    ("error: packfile pack-1.pack cannot be mapped", Outcome.CORRUPT),
    ("fatal: cannot read existing object info bcf68c12b2b40b4cde9e62100b1d316db59072a7", Outcome.CORRUPT),
    ("fatal: unable to read tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904", Outcome.CORRUPT),
    ("fatal: the remote end hung up unexpectedly", Outcome.TRANSIENT),
    ("error: RPC failed; HTTP 503", Outcome.TRANSIENT),
    ("", Outcome.TRANSIENT),
]


@pytest.mark.parametrize(("text", "outcome"), CASES)
def test_an_error_text_has_its_class(text, outcome):
    assert classify(text) is outcome


def test_a_full_disk_is_ours_also_when_the_upstream_is_blamed_in_the_same_breath():
    text = "fatal: write error: No space left on device\nfatal: repository 'https://h/x/' not found"

    assert classify(text) is Outcome.RESOURCE


def test_only_changed_and_unchanged_are_successes():
    assert {Outcome.CHANGED, Outcome.UNCHANGED} == SUCCESSES


def test_a_server_is_not_believed_about_us():
    assert classify("remote: no space left on device\nfatal: the remote end hung up") is Outcome.TRANSIENT
    assert classify("remote: loose object ab is corrupt\nfatal: early EOF") is Outcome.TRANSIENT
    assert classify("remote: Repository not found.\nfatal: Could not read from remote") is Outcome.GONE


SIGNALS = [
    ("fatal: unable to access 'https://h/': The requested URL returned error: 429", Signal.OVERLOADED),
    ("fatal: unable to access 'https://h/': The requested URL returned error: 503", Signal.OVERLOADED),
    ("error: RPC failed; HTTP 502 curl 22 The requested URL returned error: 502", Signal.OVERLOADED),
    ("kex_exchange_identification: Connection closed by remote host", Signal.OVERLOADED),
    ("fatal: unable to access 'https://h/': Failed to connect to h port 443", Signal.UNREACHABLE),
    ("ssh: connect to host h port 22: Connection refused", Signal.UNREACHABLE),
    ("fatal: unable to access 'https://h/': Could not resolve host: h", Signal.UNREACHABLE),
    (
        "fatal: unable to access 'https://h/': SSL certificate problem: certificate has expired",
        Signal.UNREACHABLE,
    ),
    ("fatal: unable to access 'https://h/': gnutls_handshake() failed: TLS fatal alert", Signal.UNREACHABLE),
    ("remote: connection refused\nfatal: early EOF", Signal.NONE),
    ("fatal: early EOF", Signal.NONE),
    ("fatal: unable to access 'https://h/': The requested URL returned error: 500", Signal.NONE),
]


@pytest.mark.parametrize(("text", "signal"), SIGNALS)
def test_a_passing_trouble_says_something_of_the_host_or_nothing(text, signal):
    assert signal_of(Outcome.TRANSIENT, text) is signal


@pytest.mark.parametrize("outcome", sorted(Outcome))
def test_an_outcome_says_of_the_host_what_it_can(outcome):
    ours = {
        "resource",
        "corrupt",
        "blocked",
        "lost",
        "fenced",
        "canceled",
        "interrupted",
        "no_slot",
        "transient",
    }
    expected = Signal.UNREACHABLE if outcome is Outcome.HUNG else Signal.ANSWERS
    assert signal_of(outcome) is (Signal.NONE if outcome in ours else expected)
