#!/usr/bin/env bash
# Prepares Vault or OpenBao for respgate: an authority for Redis, a role and a policy for the application app1.
#
#   setup.sh [kubernetes|approle] [audit]
#
# Needs a login that may administer the server (VAULT_ADDR and VAULT_TOKEN), and the program vault, or bao by
# VAULT_PROGRAM=bao. It can be run again: what exists is kept. `audit` is for Vault; OpenBao has its audit devices in its
# configuration (openbao.hcl).
set -euo pipefail
cd "$(dirname "$0")"
vault=${VAULT_PROGRAM:-vault}

# enabled KIND PATH: is there a secrets engine, an authentication method or an audit device of that path?
enabled() { "$vault" "$1" list -format=json | grep "\"$2/\"" > /dev/null; }

if ! enabled secrets pki; then
  "$vault" secrets enable -max-lease-ttl=43800h pki
  "$vault" write pki/root/generate/internal common_name=redis-ca ttl=43800h key_type=ec key_bits=256
fi
enabled secrets kv || "$vault" secrets enable -version=2 kv

# A certificate for the client app1 and nothing else, for a day at most.
"$vault" write pki/roles/respgate-app1 \
  allowed_domains=app1 allow_bare_domains=true allow_subdomains=false allow_ip_sans=false allow_localhost=false \
  client_flag=true server_flag=false key_usage=DigitalSignature key_type=ec key_bits=256 ttl=24h max_ttl=24h
# One for Redis itself.
"$vault" write pki/roles/redis-server \
  allowed_domains=redis.redis.svc allow_bare_domains=true allow_subdomains=false allow_localhost=false \
  client_flag=false server_flag=true key_usage=DigitalSignature key_type=ec key_bits=256 ttl=720h max_ttl=8760h

"$vault" policy write respgate-app1 policy.hcl

for part; do
  case $part in
    kubernetes)
      enabled auth kubernetes || "$vault" auth enable kubernetes
      # A server outside of the cluster needs its address and authority.
      "$vault" write auth/kubernetes/config kubernetes_host="${KUBERNETES_HOST:-https://kubernetes.default.svc}" \
        ${KUBERNETES_CA_FILE:+kubernetes_ca_cert=@"$KUBERNETES_CA_FILE" disable_local_ca_jwt=true}
      "$vault" write auth/kubernetes/role/respgate-app1 \
        bound_service_account_names=app1 bound_service_account_namespaces=app1 \
        token_policies=respgate-app1 token_no_default_policy=true token_ttl=1h
      ;;
    approle)
      enabled auth approle || "$vault" auth enable approle
      "$vault" write auth/approle/role/respgate-app1 token_policies=respgate-app1 token_ttl=1h secret_id_ttl=0
      ;;
    audit)
      enabled audit file || "$vault" audit enable file file_path=/vault/audit/audit.log mode=0600
      enabled audit stdout || "$vault" audit enable -path=stdout file file_path=stdout
      ;;
    *) echo "setup.sh [kubernetes|approle] [audit]" >&2; exit 2 ;;
  esac
done
