#!/bin/sh
# Make the secrets that compose.yaml mounts, beside it: a key and a certificate for the server, and a place for the
# worker's token. The containers' user, 10001, owns what it must read alone; run this as root, or with podman unshare.
set -eu
cd "$(dirname "$0")"
if [ -e secrets ]; then
    echo "deploy/secrets exists already: remove it to make new secrets" >&2
    exit 1
fi
umask 077
mkdir -p secrets/server secrets/worker
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 365 -subj /CN=server \
    -addext 'subjectAltName=DNS:server,DNS:localhost,IP:127.0.0.1' \
    -keyout secrets/server/server.key -out secrets/server/server.crt 2>/dev/null
cp secrets/server/server.crt secrets/worker/server.crt
: > secrets/worker/token
chown -R "${OWNER:-10001}" secrets/server secrets/worker
echo "made deploy/secrets: server/server.key, server/server.crt, worker/server.crt, worker/token (empty yet)"
