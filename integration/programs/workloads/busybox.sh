# busybox: a server and a client of its own, archives, pipes, jobs.
set -e
mkdir /tmp/www
echo served >/tmp/www/page
httpd -p 127.0.0.1:8080 -h /tmp/www
[ "$(wget -q -O - http://127.0.0.1:8080/page)" = served ]
tar -C /tmp -czf /tmp/a.tgz www
tar -xzOf /tmp/a.tgz www/page | grep -q served
sleep 100 &
kill $!
[ "$(seq 1 100 | awk '{ n += $1 } END { print n }')" = 5050 ]
