"""Rotating the keys that credentials are sealed by."""

import logging
from dataclasses import dataclass

from django.db import transaction

from mirroring.models import Credential, key_list
from mirroring.rules import sealing

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RotatedKeys:
    """What a rotation did. `sealed_by` is the name of the key that seals now; `unneeded` opens nothing any more."""

    sealed_by: str
    resealed: int
    forgotten: int
    unneeded: tuple[str, ...]
    unopened: tuple[str, ...]


def rotate_keys() -> RotatedKeys:
    """Seal every credential by a new key. Raise KeysUnusable.

    The keys are read at each use, so every process has the new one at once. The key before it stays in the file until
    the next rotation, for a process that has read a row and not yet opened it; older ones that no row needs go.
    Where CREDENTIAL_KEYS gives the keys, a new one has been put first there, and the old ones are named.
    """
    own_file = not key_list.from_environment()
    forgotten = 0
    if own_file:
        current = sealing.key_id(key_list.read()[0])
        forgotten = key_list.forget_all_but({current, *_in_use()})
        key_list.add_key()
    resealed, unopened = _reseal()
    names = [sealing.key_id(key) for key in key_list.read()]
    logger.info("keys of the credentials rotated", extra={"sealed_by": names[0], "credentials": resealed})
    return RotatedKeys(
        sealed_by=names[0],
        resealed=resealed,
        forgotten=forgotten,
        unneeded=tuple(name for name in names[1:] if name not in _in_use()),
        unopened=tuple(unopened),
    )


def _in_use() -> set[str]:
    sealed = Credential.objects.values_list("sealed", "sealed_token")
    return {sealing.key_of(text) for pair in sealed.iterator() for text in pair if text}


def _reseal() -> tuple[int, list[str]]:
    resealed, unopened = 0, []
    for pk in Credential.objects.order_by("pk").values_list("pk", flat=True):
        with transaction.atomic():
            # Locked, so that a secret that is replaced at this moment is not put back.
            row = Credential.objects.select_for_update().filter(pk=pk).first()
            if row is None:
                continue
            try:
                row.reseal()
            except sealing.CannotOpen:
                unopened.append(row.path)
                continue
            row.save(update_fields=["sealed", "sealed_token"])
            resealed += 1
    return resealed, unopened
