"""What people do to mirrors: each act is one function, used by the command line and the admin alike.

Every act takes `now`, the time by the one clock (`mirroring.tracker.connection.present`), and where it makes a mirror
due, `wake`, which is called after the commit (`mirroring.tasks.wake_scheduler`). A refusal is a CatalogError.
"""

from mirroring.catalog.acting import cancel, pause, resume, retry, sync
from mirroring.catalog.adding import Added, Skipped, add, add_all, check_free
from mirroring.catalog.adopting import Adopted, Adopting, NotAdoptable, adopt, adopt_all
from mirroring.catalog.credential_keys import RotatedKeys, rotate_keys
from mirroring.catalog.credential_values import Given
from mirroring.catalog.credentials import (
    Replaced,
    add_credential,
    find_credential,
    remove_credential,
    replace_credential,
    set_expiry,
)
from mirroring.catalog.editing import Edited, NoCredential, edit
from mirroring.catalog.errors import CatalogError
from mirroring.catalog.finding import find, find_group, find_removed
from mirroring.catalog.freshness import Freshness, freshness, in_words
from mirroring.catalog.groups import add_group, add_token, edit_group, remove_group, revoke_token
from mirroring.catalog.hosts import distrust, edit_host, find_host, offered_keys, stop_cooling, trust
from mirroring.catalog.lists import read_adoptions, read_list
from mirroring.catalog.moving import accept_move, decline_move, proposal
from mirroring.catalog.removing import KEEP_REMOVED, purge_removed, remove, restore
from mirroring.catalog.wanted import Refs, Wanted, check_refs, want

__all__ = [
    "KEEP_REMOVED",
    "Added",
    "Adopted",
    "Adopting",
    "CatalogError",
    "Edited",
    "Freshness",
    "Given",
    "NoCredential",
    "NotAdoptable",
    "Refs",
    "Replaced",
    "RotatedKeys",
    "Skipped",
    "Wanted",
    "accept_move",
    "add",
    "add_all",
    "add_credential",
    "add_group",
    "add_token",
    "adopt",
    "adopt_all",
    "cancel",
    "check_free",
    "check_refs",
    "decline_move",
    "distrust",
    "edit",
    "edit_group",
    "edit_host",
    "find",
    "find_credential",
    "find_group",
    "find_host",
    "find_removed",
    "freshness",
    "in_words",
    "offered_keys",
    "pause",
    "proposal",
    "purge_removed",
    "read_adoptions",
    "read_list",
    "remove",
    "remove_credential",
    "remove_group",
    "replace_credential",
    "restore",
    "resume",
    "retry",
    "revoke_token",
    "rotate_keys",
    "set_expiry",
    "stop_cooling",
    "sync",
    "trust",
    "want",
]
