# nginx as Debian packages it: root opens the port, workers are www-data.
set -e
configuration=/etc/nginx/nginx.conf
if [ "${PORT-}" ]; then
	configuration=/tmp/nginx.conf
	sed "s/listen \(.*\)80 default_server/listen \1$PORT default_server/" /etc/nginx/sites-enabled/default >/tmp/site
	sed 's/^user .*//; s#/etc/nginx/sites-enabled/\*#/tmp/site#; s#include modules#include /etc/nginx/modules#' /etc/nginx/nginx.conf >$configuration
	sed -i 's#include /etc/nginx/modules-enabled.*##' $configuration
fi
nginx -c $configuration
exec 3<>/dev/tcp/127.0.0.1/${PORT:-80}
printf 'GET / HTTP/1.0\r\n\r\n' >&3
grep -q 'Welcome to nginx' <&3
nginx -c $configuration -s quit 2>/tmp/quit
