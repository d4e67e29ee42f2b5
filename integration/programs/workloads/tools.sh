# A shell with tools from apt: what a developer or a build does, in /data.
set -e
export HOME=/tmp
[ "$(find /data -name main.c | wc -l)" = $((2 * ${RUNS:-0})) ]
cd "$(mktemp -d -p /data)"
git init -q repository
cd repository
printf '#include <stdio.h>\nint main(void) { puts("built"); return 0; }\n' >main.c
printf 'main: main.c\n\tgcc -O2 -o $@ $<\n' >Makefile
git add .
git -c user.name=x -c user.email=x@y commit -qm first
git clone -q . ../copy
make -s -C ../copy
[ "$(../copy/main)" = built ]
tar -C .. -cJf /tmp/copy.tar.xz copy
tar -tf /tmp/copy.tar.xz | grep -q copy/main.c
openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=localhost -keyout /tmp/key -out /tmp/certificate 2>/tmp/log
openssl s_server -4 -accept 4433 -key /tmp/key -cert /tmp/certificate -www >/tmp/server 2>&1 &
curl --ipv4 --silent --show-error --fail --retry 20 --retry-connrefused --retry-delay 1 --cacert /tmp/certificate --output /tmp/page https://localhost:4433/ || { cat /tmp/server; exit 1; }
kill $!
grep -q TLS /tmp/page
perl -e 'exit(("a" x 3) eq "aaa" ? 0 : 1)'
dpkg-query --show bash >/tmp/packages
