# The agent on a machine without Kubernetes, for Vault and OpenBao. In a pod the injector writes the same from the
# annotations of deploy/kubernetes/components/vault-agent.
vault {
  address = "https://vault.example.com:8200"
  # An outage of the server is survived by trying again; the files stay as they are.
  retry {
    num_retries = 12
  }
}

auto_auth {
  method "approle" {
    config = {
      role_id_file_path                   = "/etc/respgate/vault/role-id"
      secret_id_file_path                 = "/etc/respgate/vault/secret-id"
      remove_secret_id_file_after_reading = false
    }
  }
}

template_config {
  # The password and the authorities are read again this often. Certificates are renewed by their own time.
  static_secret_render_interval = "1m"
  exit_on_retry_failure         = false
}

# Certificate, chain and key in one file by one template. With two templates the files would be of different
# certificates for a moment.
template {
  source      = "/etc/respgate/vault/client.pem.ctmpl"
  destination = "/var/run/respgate/vault/client.pem"
  perms       = "0440"
}

# All authorities of the engine: while it has an old and a new one, both are trusted.
template {
  source      = "/etc/respgate/vault/ca.crt.ctmpl"
  destination = "/var/run/respgate/vault/ca.crt"
  perms       = "0444"
}

template {
  source      = "/etc/respgate/vault/password.ctmpl"
  destination = "/var/run/respgate/vault/password"
  perms       = "0440"
}
