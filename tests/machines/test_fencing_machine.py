"""Refs of one mirror under any order of stagings, publications, revocations, crashes and sleeps of writers.

A real repository on disk; the refs are written by hand, for it is the swap that is looked at and not git.
"""

import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from mirroring.upstream.disk.repository import Repository
from mirroring.upstream.git.process import GitError, StopHandle
from tests.machines import SAME_EACH_TIME

index = st.integers(min_value=0, max_value=10)
OID = "{:040x}"


class Fencing(RuleBasedStateMachine):
    """Writers of several epochs, of which the newest alone is in force."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="fencing-"))
        self.repository = Repository(self.folder / "mirror.git")
        self.repository.make(stop=StopHandle())
        self.epoch = 0
        self.staged: list[int] = []
        self.visible = 0

    @rule()
    def begin(self) -> None:
        """A new epoch begins: as repair and the import itself do, older ones are revoked first."""
        self.epoch += 1
        self.repository.revoke(before=self.epoch)
        staging = self.repository.stage(self.epoch)
        lines = [f"{OID.format(self.epoch)} refs/heads/{name}\n" for name in ("a", "b", "c")]
        (staging / "packed-refs").write_text("".join(lines))
        self.staged.append(self.epoch)

    @rule()
    def claim(self) -> None:
        """The mirror is claimed anew, but that import has not begun: nobody was revoked yet."""
        self.epoch += 1

    @precondition(lambda self: self.staged)
    @rule(at=index)
    def publish(self, at: int) -> None:
        epoch = self.staged.pop(at % len(self.staged))
        self._publish(epoch, asleep=False)

    @precondition(lambda self: self.staged)
    @rule(at=index)
    def publish_after_a_sleep(self, at: int) -> None:
        """The writer is stopped between its last look at the epoch and the swap; meanwhile another import begins."""
        epoch = self.staged.pop(at % len(self.staged))
        self._publish(epoch, asleep=True)

    def _publish(self, epoch: int, *, asleep: bool) -> None:
        def still_ours() -> bool:
            ours = epoch == self.epoch
            if asleep:
                self.epoch += 1
                self.repository.revoke(before=self.epoch)
            return ours

        before = self.epoch
        try:
            self.repository.publish(epoch, still_ours=still_ours)
        except GitError:
            assert epoch != before or asleep, "the writer in force was refused"
            return
        assert epoch == before, "a writer of an old epoch was let through"
        assert not asleep, "a writer was let through whose epoch ended while it slept"
        self.visible = epoch

    @precondition(lambda self: self.staged)
    @rule(at=index)
    def crash(self, at: int) -> None:
        """A writer vanishes and leaves its staging folder behind."""
        self.staged.pop(at % len(self.staged))

    @rule()
    def revoke(self) -> None:
        self.repository.revoke(before=self.epoch)

    @invariant()
    def readers_see_one_whole_update(self) -> None:
        try:
            lines = self.repository.packed_refs.read_text().splitlines()
        except FileNotFoundError:
            lines = []
        oids = {line.split(" ")[0] for line in lines if line[0] != "#"}
        assert oids == ({OID.format(self.visible)} if self.visible else set())

    @invariant()
    def the_next_one_is_not_blocked(self) -> None:
        assert not list(self.repository.path.glob("*.lock")) or all(
            lock.name == "update.lock" for lock in self.repository.path.glob("*.lock")
        )

    def teardown(self) -> None:
        try:
            self.begin()
            self._publish(self.epoch, asleep=False)
            assert self.visible == self.epoch
            self.repository.revoke(before=self.epoch + 1)
            assert [
                path for path in (self.repository.path / "incoming").iterdir() if path.name[0] != "."
            ] == []
        finally:
            shutil.rmtree(self.folder)


SHORT = settings(
    max_examples=20,
    stateful_step_count=20,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)


def test_refs_are_swapped_whole_and_by_the_epoch_in_force_alone():
    run_state_machine_as_test(Fencing, settings=SHORT)


@pytest.mark.long
@pytest.mark.timeout(600)
def test_refs_are_swapped_whole_and_by_the_epoch_in_force_alone_in_many_more_orders():
    run_state_machine_as_test(
        Fencing,
        settings=settings(SHORT, max_examples=300, stateful_step_count=50, derandomize=SAME_EACH_TIME),
    )
