#!/bin/sh
# Makes the certificates of the transport's tests. The root's key is thrown away; server.key guards nothing.
set -e
root_key=$(mktemp)
work=$(mktemp -d)
openssl ecparam -name prime256v1 -genkey -noout -out "$root_key"
openssl req -x509 -new -key "$root_key" -subj "/CN=grantry test root" -days 36500 -out root.pem \
  -addext "keyUsage=critical,keyCertSign"
openssl ecparam -name prime256v1 -genkey -noout | openssl pkcs8 -topk8 -nocrypt -out server.key
openssl req -new -key server.key -subj "/CN=grantry test server" -out "$work/csr"
: > "$work/index"
leaf() { # file, name, first day, last day
  cat > "$work/config" <<END
[ca]
default_ca = this
[this]
database = $work/index
new_certs_dir = $work
rand_serial = yes
default_md = sha256
policy = any
unique_subject = no
[any]
commonName = supplied
[leaf]
subjectAltName = $2
basicConstraints = CA:FALSE
extendedKeyUsage = serverAuth
END
  openssl ca -batch -notext -config "$work/config" -extensions leaf -cert root.pem -keyfile "$root_key" \
    -startdate "$3" -enddate "$4" -in "$work/csr" -out "$1" 2>/dev/null
}
leaf good.pem IP:127.0.0.1 20250101000000Z 21000101000000Z
leaf expired.pem IP:127.0.0.1 20240101000000Z 20240201000000Z
leaf other-name.pem DNS:other.example 20250101000000Z 21000101000000Z
rm -r "$root_key" "$work"
