#!/bin/sh
# Makes the certificates and keys that the examples of config/ name, in the folder of this script, each time anew. They are
# for trying things out: good for localhost and a year; the keys of both authorities are thrown away.
#
#   sh config/crypto/make.sh
#
# It needs openssl, 1.1.1 or later.
set -eu
umask 077
cd "$(dirname "$0")"
mkdir -p jwt
trap 'rm -f ./*-ca-key.pem request.pem extensions errors' EXIT

# ssl runs openssl, whose chatter is shown only if it fails.
ssl() {
  openssl "$@" 2>errors || { cat errors >&2; exit 1; }
}

new_key="-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"

# authority NAME COMMON-NAME
authority() {
  # shellcheck disable=SC2086 # several words
  ssl req -x509 $new_key -days 365 -subj "/CN=$2" -keyout "$1-ca-key.pem" -out "$1-ca-cert.pem"
}

# certificate NAME COMMON-NAME EXTENSIONS, of the authority of that name
certificate() {
  # shellcheck disable=SC2086
  ssl req $new_key -subj "/CN=$2" -keyout "$1-key.pem" -out request.pem
  echo "$3" >extensions
  ssl x509 -req -in request.pem -CA "$1-ca-cert.pem" -CAkey "$1-ca-key.pem" -set_serial "0x1$(openssl rand -hex 15)" \
    -days 365 -extfile extensions -out "$1-cert.pem"
}

authority server "Example authority of nodes"
certificate server localhost "subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1"
authority client "Example authority of clients"
certificate client edge "subjectAltName=DNS:edge"

# Keys of tokens: the private one signs, the public one checks.
ssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out jwt/rsa.pem
ssl pkey -in jwt/rsa.pem -pubout -out jwt/rsa-public.pem

echo "certificates and keys are in $PWD"
