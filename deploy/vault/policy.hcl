# What the agent of the application app1 may do: ask for one kind of certificate, read one password, and see which
# authorities there are.
path "pki/issue/respgate-app1" {
  capabilities = ["update"]
  allowed_parameters = {
    "common_name" = ["app1"]
    "ttl"         = []
  }
}

path "kv/data/respgate/app1" {
  capabilities = ["read"]
}

path "pki/issuers" {
  capabilities = ["list"]
}

path "pki/issuer/+/json" {
  capabilities = ["read"]
}
