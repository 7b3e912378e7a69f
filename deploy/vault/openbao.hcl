# A server of OpenBao. Vault takes the same but for the two audit devices, which are enabled there by command
# (setup.sh), and the seal, which is one of a key management service (awskms, gcpckms, azurekeyvault, transit).
storage "raft" {
  path    = "/var/lib/openbao"
  node_id = "node-1"
}

listener "tcp" {
  address       = "0.0.0.0:8200"
  tls_cert_file = "/etc/openbao/tls.crt"
  tls_key_file  = "/etc/openbao/tls.key"
}

api_addr     = "https://vault.example.com:8200"
cluster_addr = "https://vault.example.com:8201"

# Unseals by itself after a restart. Without this, nothing is renewed until operators have unsealed it by hand.
seal "static" {
  current_key_id = "2026-11"
  current_key    = "file:///etc/openbao/unseal.key"
}

# Two devices: the server refuses every request when it can write to none of them.
audit "file" "to-file" {
  description = "every request and answer; secrets are hashed"
  options {
    file_path = "/var/log/openbao/audit.log"
    mode      = "0600"
  }
}

audit "file" "to-stdout" {
  options {
    file_path = "stdout"
  }
}
