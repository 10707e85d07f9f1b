"""The statements of the claims, in both dialects.

The claim reads, for every host that may have more, the head of its line from the index (host, due, mirror). If there
are as many lines as the batch has places, their heads are the batch. Else it reads as many rows of each line as a fair
share can need; and only if that leaves places empty, all that the hosts may have. So its cost depends on the number
of hosts, not on how many rows are due, nor on whose rows stand in front.
"""

from functools import cache

_OPEN = """
WITH held AS MATERIALIZED (
  SELECT host_id, count(*) AS claims FROM mirroring_importstate
   WHERE claim_expires_at > %(now)s AND (%(queued)s OR status IN ('scheduled', 'started')) GROUP BY host_id
), open AS MATERIALIZED (
  SELECT h.id, coalesce(held.claims, 0) AS claims,
         {least}(%(ceiling)s, coalesce(h.max_slots, %(ceiling)s),
                 CASE WHEN %(adaptive)s THEN coalesce(h.slots, %(start)s) ELSE %(ceiling)s END)
         - coalesce(held.claims, 0) AS room
    FROM mirroring_host h LEFT JOIN held ON held.host_id = h.id
   WHERE h.cooling_until IS NULL OR h.cooling_until <= %(now)s OR NOT %(adaptive)s
), lines AS MATERIALIZED ({lines}
), share AS MATERIALIZED (
  SELECT CASE WHEN count(*) < %(limit)s THEN 1 + 2 * %(limit)s / {greatest}(count(*), 1) ELSE 1 END AS depth
    FROM lines
), fair AS MATERIALIZED (
  SELECT mirror_id, due, due <= %(urgent)s AS urgent, claims + 1 AS turn FROM lines
  UNION ALL {fair}
), rest AS MATERIALIZED ({rest}
), chosen AS MATERIALIZED (
  SELECT mirror_id FROM (
    SELECT * FROM fair WHERE (SELECT count(*) FROM fair) >= %(limit)s
    UNION ALL SELECT * FROM rest
    UNION ALL SELECT mirror_id, due, due <= %(urgent)s, claims + 1 FROM lines
     WHERE (SELECT count(*) FROM fair) < %(limit)s) AS picked
   ORDER BY urgent DESC, turn, due, mirror_id LIMIT %(limit)s
)"""

# PostgreSQL. A line brings to the batch what stands behind its head, each row with its turn: the claims that its host
# holds then.
_HEADS = """
  SELECT open.*, s.mirror_id, s.due FROM open CROSS JOIN LATERAL (
         SELECT mirror_id, {due} AS due FROM mirroring_importstate
          WHERE host_id = open.id AND {due} <= %(now)s
          ORDER BY {due}, mirror_id LIMIT 1) AS s
   WHERE room > 0"""
_BEHIND = """
  SELECT s.mirror_id, s.due, s.due <= %(urgent)s AS urgent, lines.claims + s.number AS turn
    FROM lines CROSS JOIN LATERAL (
         SELECT mirror_id, {due} AS due, row_number() OVER (ORDER BY {due}, mirror_id) AS number
           FROM mirroring_importstate
          WHERE host_id = lines.id AND {due} <= %(now)s
          ORDER BY {due}, mirror_id
         OFFSET 1 LIMIT least(lines.room, {depth}) - 1) AS s
   WHERE {condition}"""

# SQLite knows no LATERAL, and no limit that differs between rows.
_HEADS_IN_SQLITE = """
  SELECT open.*, s.mirror_id, s.{due} AS due FROM open CROSS JOIN mirroring_importstate s
   WHERE room > 0 AND s.mirror_id = (
         SELECT mirror_id FROM mirroring_importstate
          WHERE host_id = open.id AND {due} <= %(now)s
          ORDER BY {due}, mirror_id LIMIT 1)"""
_BEHIND_IN_SQLITE = """
  SELECT mirror_id, due, urgent, turn FROM (
    SELECT s.mirror_id, s.{due} AS due, s.{due} <= %(urgent)s AS urgent, lines.room, lines.claims,
           lines.claims + 1 + row_number() OVER (PARTITION BY lines.id ORDER BY s.{due}, s.mirror_id) AS turn
      FROM lines CROSS JOIN mirroring_importstate s
     WHERE {condition} AND s.mirror_id IN (
           SELECT mirror_id FROM mirroring_importstate
            WHERE host_id = lines.id AND {due} <= %(now)s
            ORDER BY {due}, mirror_id LIMIT {depth} - 1 OFFSET 1))
   WHERE turn <= room + claims"""

# The last column is the row's place in its line, as `due_time` has it: in seconds, for to make moments of what comes
# back took a driver a fifth of the claim. IS NULL would be simpler, but SQLite 3.40 answers it wrongly there.
_TAKE = """
UPDATE mirroring_importstate
   SET epoch = epoch + 1, {due} = NULL, claimed_at = %(now)s, claim_expires_at = %(until)s
 WHERE mirror_id {among}
RETURNING mirror_id, epoch, host_id, urgent,
       {seconds} - CASE WHEN retry_count > 0 OR last_successful_update_at <= %(now)s THEN 0 ELSE %(first)s END
"""
# Chosen without a lock, then locked and looked at again: who is quicker has them, and nobody waits. The arrays make
# each SELECT run once; as a plain IN it may be run again for each row.
_LOCKED = """= ANY (ARRAY(
       SELECT mirror_id FROM mirroring_importstate
        WHERE mirror_id = ANY (ARRAY(SELECT mirror_id FROM chosen)) AND {due} <= %(now)s
          FOR UPDATE SKIP LOCKED))"""

RENEW = """
UPDATE mirroring_importstate
   SET claim_expires_at = %s
 WHERE claim_expires_at > %s AND active AND NOT cancel_requested AND status IN ('scheduled', 'started')
   AND (mirror_id, epoch) IN (VALUES {pairs})
RETURNING mirror_id, epoch
"""

STANDING = "SELECT count(*) FROM mirroring_importstate WHERE claim_expires_at > %s"

_DEPTH = "(SELECT depth FROM share)"
_SHARED = f"{_DEPTH} > 1"
_UNFILLED = "(SELECT count(*) FROM fair) < %(limit)s"


@cache
def statement(vendor: str, due: str) -> str:
    """Return the claim for a database and a due line; the values are named."""
    words = _postgresql(due) if vendor == "postgresql" else _sqlite(due)
    return (_OPEN + _TAKE).format(due=due, **words)


def _postgresql(due: str) -> dict[str, str]:
    # Whoever asks for a hundred of one host is not to wait for a hundred batches.
    depth = f"CASE WHEN lines.due <= %(urgent)s THEN %(limit)s ELSE {_DEPTH} END"
    shared = f"{_SHARED} OR lines.due <= %(urgent)s"
    return {
        "seconds": "extract(epoch FROM next_execution_at)::float8",
        "least": "least",
        "greatest": "greatest",
        "lines": _HEADS.format(due=due),
        "fair": _BEHIND.format(due=due, depth=depth, condition=shared),
        "rest": _BEHIND.format(due=due, depth="%(limit)s", condition=_UNFILLED),
        "among": _LOCKED.format(due=due),
    }


def _sqlite(due: str) -> dict[str, str]:
    usual = f"{_SHARED} AND lines.due > %(urgent)s"
    asked = "lines.due <= %(urgent)s"
    fair = [
        _BEHIND_IN_SQLITE.format(due=due, depth=_DEPTH, condition=usual),
        _BEHIND_IN_SQLITE.format(due=due, depth="%(limit)s", condition=asked),
    ]
    return {
        "seconds": "julianday(next_execution_at) * 86400",
        "least": "min",
        "greatest": "max",
        "lines": _HEADS_IN_SQLITE.format(due=due),
        "fair": "\n  UNION ALL".join(fair),
        "rest": _BEHIND_IN_SQLITE.format(due=due, depth="%(limit)s", condition=_UNFILLED),
        "among": "IN (SELECT mirror_id FROM chosen)",
    }
