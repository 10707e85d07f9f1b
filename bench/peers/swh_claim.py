"""swh-scheduler's `grab_next_visits` on as many origins as wanted. Runs in an environment that has swh-scheduler.

`python swh_claim.py URL ORIGINS`: makes the schema in an empty database, fills it, says {"ready": true}; then, for each
line LIMIT TABLESAMPLE, grabs visits and says {"rows": ...}.
"""

import json
import sys
from datetime import timedelta
from pathlib import Path

import psycopg
import swh.scheduler
from swh.scheduler.backend import SchedulerBackend

COOLDOWNS = {
    "absolute_cooldown": timedelta(hours=12),
    "scheduled_cooldown": timedelta(days=7),
    "failed_cooldown": timedelta(days=14),
    "not_found_cooldown": timedelta(days=31),
}
LISTER = """
INSERT INTO listers (name, instance_name, current_state, updated) VALUES ('bench', 'x', '{}', now()) RETURNING id
"""
ORIGINS = """
INSERT INTO listed_origins
       (lister_id, extra_loader_arguments, first_seen, last_seen, url, visit_type, last_update, enabled)
SELECT %s, '{}', now(), now(), 'https://host.example.org/group-' || n %% 1000 || '/project-' || n || '.git', 'git',
       now() - random() * interval '30 days', true
  FROM generate_series(1, %s) AS series(n)
"""
# Each origin was visited once, some time in the last ten days: so of the cooldowns, a part is over.
VISITS = """
INSERT INTO origin_visit_stats
       (url, visit_type, last_scheduled, last_visit, last_visit_status, last_successful, last_snapshot)
SELECT url, 'git', at, at + interval '1 hour', 'successful', at + interval '1 hour', decode(repeat('01', 20), 'hex')
  FROM (SELECT url, now() - interval '12 hours' - random() * interval '10 days' AS at FROM listed_origins) AS visited
"""


def main(url: str, origins: int) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        for script in sorted((Path(swh.scheduler.__file__).parent / "sql").glob("*.sql")):
            connection.execute(script.read_text())
        connection.execute("SELECT setseed(0.5)")
        [lister] = connection.execute(LISTER).fetchone() or [None]
        connection.execute(ORIGINS, [lister, origins])
        connection.execute(VISITS)
        connection.execute("VACUUM ANALYZE")
    backend = SchedulerBackend(db=url)
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        limit, sample = line.split()
        extra = {"tablesample": float(sample)} if float(sample) else {}
        rows = backend.grab_next_visits("git", int(limit), "oldest_scheduled_first", **COOLDOWNS, **extra)
        print(json.dumps({"rows": len(rows)}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
