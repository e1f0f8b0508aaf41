#!/bin/sh
# Makes a certificate for "localhost" and 127.0.0.1 that is its own authority,
# for a week: FOLDER/certificate.pem and FOLDER/key.pem. For trying things out.
#
#   tools/certificate.sh FOLDER
#
# SPDX-License-Identifier: MIT
set -eu
mkdir -p "$1"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes \
    -days 7 -subj /CN=localhost \
    -addext subjectAltName=DNS:localhost,IP:127.0.0.1 \
    -keyout "$1/key.pem" -out "$1/certificate.pem" 2>"$1/openssl.log" ||
    { cat "$1/openssl.log"; exit 1; }
