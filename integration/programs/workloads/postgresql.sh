# PostgreSQL with its data in /data: made where it is not there yet, by the user postgres, whom root makes it belong to.
set -e
PATH=/usr/lib/postgresql/15/bin:$PATH
if [ "$(id -u)" = 0 ]; then
	mkdir -p /data/main /run/postgresql
	chown postgres /data/main /run/postgresql
	exec setpriv --reuid=postgres --regid=postgres --init-groups bash -c "$BASH_EXECUTION_STRING"
fi
mkdir -p /run/postgresql
if [ ! -s /data/main/PG_VERSION ]; then
	initdb --pgdata=/data/main --auth=trust >/tmp/initdb.log 2>&1 || { cat /tmp/initdb.log; exit 1; }
fi
pg_ctl --pgdata=/data/main --wait --log=/tmp/log start >/tmp/start.log || { cat /tmp/log; exit 1; }
query() { psql --dbname=postgres -qAt -c "$1"; }
query 'create table if not exists t (n int); insert into t select max(n) + 1 from t union all select 1 where not exists (select from t)'
query 'create temporary table u as select g as n from generate_series(1, 20000) g; create index on u (n); analyze u'
query "set max_parallel_workers_per_gather = 2; set min_parallel_table_scan_size = 0; set parallel_setup_cost = 0; select sum(g) from generate_series(1, 1000) g"
[ "$(query 'select max(n) from t')" = $((${RUNS:-0} + 1)) ]
pg_ctl --pgdata=/data/main --wait --mode=fast stop >/tmp/stop.log
