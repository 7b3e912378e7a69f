{{/* The sidecar as an item of initContainers: for mode native. */}}
{{- define "respgate.sidecar" -}}
{{- if eq .Values.respgate.mode "native" }}
{{- if semverCompare "<1.29-0" .Capabilities.KubeVersion.Version }}
{{- fail "respgate.mode native needs Kubernetes 1.29 or later, where an init container may keep running; before, set respgate.mode to legacy" }}
{{- end }}
{{- include "respgate.item" . }}
{{- end }}
{{- end }}

{{/* The same as an item of containers: for mode legacy. */}}
{{- define "respgate.container" -}}
{{- if eq .Values.respgate.mode "legacy" }}
{{- include "respgate.item" . }}
{{- end }}
{{- end }}

{{- define "respgate.item" -}}
{{- $values := .Values.respgate -}}
- name: respgate
  image: {{ $values.image.repository }}{{ with $values.image.tag }}:{{ . }}{{ end }}{{ with $values.image.digest }}@{{ . }}{{ end }}
  {{- if ne $values.image.pullPolicy "IfNotPresent" }}
  imagePullPolicy: {{ $values.image.pullPolicy }}
  {{- end }}
  {{- if eq $values.mode "native" }}
  restartPolicy: Always
  env:
    - {name: RESPGATE__DRAIN__NATIVE_SIDECAR, value: "true"}
  {{- else }}
  env:
    - {name: RESPGATE__DRAIN__MIN, value: 5s}
  {{- end }}
  args: [run, --config, /etc/respgate/respgate.toml]
  ports:
    - {name: respgate-http, containerPort: 9465}
  startupProbe:
    httpGet: {path: /startupz, port: respgate-http}
    periodSeconds: 1
    failureThreshold: 60
  livenessProbe:
    httpGet: {path: /livez, port: respgate-http}
    periodSeconds: 10
    timeoutSeconds: 2
    failureThreshold: 3
  readinessProbe:
    httpGet: {path: /readyz, port: respgate-http}
    periodSeconds: 5
    timeoutSeconds: 2
    failureThreshold: 2
  resources: {{- toYaml $values.resources | nindent 4 }}
  securityContext:
    runAsNonRoot: true
    runAsUser: 65532
    runAsGroup: 65532
    allowPrivilegeEscalation: false
    readOnlyRootFilesystem: true
    capabilities: {drop: [ALL]}
    seccompProfile: {type: RuntimeDefault}
  terminationMessagePolicy: FallbackToLogsOnError
  volumeMounts:
    - {name: respgate-config, mountPath: /etc/respgate, readOnly: true}
    {{- if ne $values.identity.source "vault" }}
    - {name: respgate-tls, mountPath: /var/run/respgate/tls, readOnly: true}
    - {name: respgate-auth, mountPath: /var/run/respgate/auth, readOnly: true}
    {{- end }}
    - {name: respgate-admin, mountPath: /var/run/respgate/admin}
    {{- if $values.socket.enabled }}
    - {name: respgate-socket, mountPath: /var/run/respgate/socket}
    {{- end }}
{{- end }}

{{/* Labels of the pod: the PodMonitor and the network policies go by them. */}}
{{- define "respgate.labels" -}}
respgate.dev/injected: "true"
{{- end }}

{{/* Annotations of the pod: those of Vault's injector, or none. */}}
{{- define "respgate.annotations" -}}
{{- $identity := .Values.respgate.identity -}}
{{- if eq $identity.source "vault" -}}
{{- $mount := regexReplaceAll "/issue/.*$" $identity.vault.pki "" -}}
vault.hashicorp.com/agent-inject: "true"
vault.hashicorp.com/role: {{ $identity.vault.role }}
vault.hashicorp.com/agent-init-first: "true"
vault.hashicorp.com/agent-inject-containers: respgate
vault.hashicorp.com/secret-volume-path: /var/run/respgate/vault
vault.hashicorp.com/agent-run-as-user: "65532"
vault.hashicorp.com/agent-run-as-group: "65532"
vault.hashicorp.com/template-static-secret-render-interval: 1m
vault.hashicorp.com/agent-inject-secret-client.pem: {{ $identity.vault.pki }}
vault.hashicorp.com/agent-inject-perms-client.pem: "0440"
vault.hashicorp.com/agent-inject-template-client.pem: |
  {{ `{{- with pkiCert "` }}{{ $identity.vault.pki }}" "common_name={{ $identity.commonName }}{{ `" "ttl=24h" -}}` }}
  {{ `{{ .Cert }}` }}
  {{ `{{ .CA }}` }}
  {{ `{{ .Key }}` }}
  {{ `{{- end -}}` }}
vault.hashicorp.com/agent-inject-secret-ca.crt: {{ $mount }}/issuers
vault.hashicorp.com/agent-inject-perms-ca.crt: "0444"
vault.hashicorp.com/agent-inject-template-ca.crt: |
  {{ `{{- range secrets "` }}{{ $mount }}{{ `/issuers" -}}` }}
  {{ `{{- with secret (printf "` }}{{ $mount }}{{ `/issuer/%s/json" .) -}}` }}
  {{ `{{ .Data.certificate }}` }}
  {{ `{{ end -}}` }}
  {{ `{{- end -}}` }}
vault.hashicorp.com/agent-inject-secret-password: {{ $identity.vault.password }}
vault.hashicorp.com/agent-inject-perms-password: "0440"
vault.hashicorp.com/agent-inject-template-password: |
  {{ `{{- with secret "` }}{{ $identity.vault.password }}{{ `" -}}` }}
  {{ `{{ .Data.data.password }}` }}
  {{ `{{- end -}}` }}
{{- end }}
{{- end }}
