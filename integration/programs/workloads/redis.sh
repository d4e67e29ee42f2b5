# Redis with its data in /data, as its image has it: commands, a fork for a snapshot, and what the snapshot is good for.
set -e
serve() { redis-server --dir /data --save '' >/tmp/redis.log & until redis-cli ping >/tmp/pong 2>&1; do sleep 0.05; done; }
serve
[ "$(redis-cli get runs)" = "${RUNS#0}" ]
redis-cli incr runs
redis-benchmark -q -n 2000 -c 10 -t set,lpush >/tmp/benchmark
redis-cli bgsave
until [ "$(redis-cli lastsave)" != 0 ] && redis-cli info persistence | grep -q bgsave_in_progress:0; do sleep 0.05; done
redis-cli info persistence | grep -q last_bgsave_status:ok
redis-cli shutdown nosave
wait
serve
redis-cli get runs
redis-cli shutdown nosave
