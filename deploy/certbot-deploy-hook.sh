#!/bin/sh
# Gives a renewed Let's Encrypt certificate to tlsproxy; certbot calls it as deploy hook.
#
#   certbot-deploy-hook.sh [LINEAGE]     LINEAGE: /etc/letsencrypt/live/NAME; certbot sets RENEWED_LINEAGE instead
#
# Copies fullchain.pem and privkey.pem to a new directory, judges them there, and turns the
# link /etc/tlsproxy/certs/NAME to it in one rename, so chain and key always belong together.
# A pair that is not good changes nothing. Ends with 0, or 1 and the reason on standard error.
#
#   TLSPROXY_CERTS    where the links are       default: /etc/tlsproxy/certs
#   TLSPROXY_GROUP    who may read the key      default: tlsproxy
#   TLSPROXY_RELOAD   how tlsproxy hears of it  default: systemctl try-reload-or-restart tlsproxy.service
set -eu
umask 077

lineage=${1:-${RENEWED_LINEAGE:-}}
certs=${TLSPROXY_CERTS:-/etc/tlsproxy/certs}
group=${TLSPROXY_GROUP:-tlsproxy}
reload=${TLSPROXY_RELOAD:-systemctl try-reload-or-restart tlsproxy.service}

refuse() {
    echo "certbot-deploy-hook: $1; the old certificate stays" >&2
    exit 1
}

[ -n "$lineage" ] || refuse "no lineage: give it as argument or in RENEWED_LINEAGE"
name=$(basename "$lineage")
link=$certs/$name
[ ! -e "$link" ] || [ -L "$link" ] || refuse "$link is in the way: it has to be a link"

[ -d "$certs" ] || install -d -g "$group" -m 0750 "$certs" || refuse "$certs cannot be made"
new=$(mktemp -d "$certs/.$name.XXXXXXXX")
link_made=
trap '[ -n "$link_made" ] || rm -rf "$new" "$certs/.$name.link"' EXIT

for file in fullchain.pem privkey.pem; do
    cp -L "$lineage/$file" "$new/$file" || refuse "$lineage/$file cannot be read"
done

# Judged are the copies: what is looked at is what will be served.
of_certificate=$(openssl x509 -in "$new/fullchain.pem" -noout -pubkey) || refuse "fullchain.pem holds no certificate"
of_key=$(openssl pkey -in "$new/privkey.pem" -passin pass: -pubout) || refuse "privkey.pem holds no key without passphrase"
[ "$of_certificate" = "$of_key" ] || refuse "the key does not belong to the certificate"
openssl x509 -in "$new/fullchain.pem" -noout -checkend 0 >/dev/null || refuse "the certificate has expired"

chgrp -R "$group" "$new" || refuse "the files cannot be given to the group $group"
chmod 0750 "$new"
chmod 0640 "$new/fullchain.pem" "$new/privkey.pem"

old=$(readlink "$link" || true)
ln -sfn "$(basename "$new")" "$certs/.$name.link"
mv -T "$certs/.$name.link" "$link"
link_made=yes

# What was served until now stays for one renewal; what came before it goes.
for previous in "$certs/.$name".????????; do
    case $(basename "$previous") in
        "$(basename "$new")" | "$old") ;;
        *) rm -rf "$previous" ;;
    esac
done

$reload || {
    echo "certbot-deploy-hook: the new certificate is in place, but this failed: $reload" >&2
    exit 1
}
