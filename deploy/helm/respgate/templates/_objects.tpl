{{/* The text of respgate.toml. */}}
{{- define "respgate.config" -}}
{{- $values := .Values.respgate -}}
{{- $files := ternary "/var/run/respgate/vault" "/var/run/respgate/tls" (eq $values.identity.source "vault") -}}
{{- $vault := eq $values.identity.source "vault" -}}
[[listener]]
{{- if $values.socket.enabled }}
address = "unix:/var/run/respgate/socket/redis.sock"
mode = "0666"
auth = "users"

[[user]]
name = {{ default "app" $values.upstream.username | quote }}
uids = [{{ int64 $values.socket.uid }}]
{{- else }}
address = "127.0.0.1:6379"
{{- end }}

[upstream]
address = {{ $values.upstream.address | quote }}
tls = { cert = "{{ $files }}/{{ ternary "client.pem" "tls.crt" $vault }}", key = "{{ $files }}/{{ ternary "client.pem" "tls.key" $vault }}", ca = "{{ $files }}/ca.crt" }
auth = { {{ with $values.upstream.username }}username = {{ quote . }}, {{ end }}password_file = "{{ ternary "/var/run/respgate/vault" "/var/run/respgate/auth" $vault }}/password" }

[policy]
preset = {{ $values.policy.preset | quote }}
{{- with $values.policy.prefix }}
keys = { {{ if eq $values.policy.mode "rewrite" }}mode = "rewrite", {{ end }}prefix = {{ quote . }} }
{{- end }}

[limits]
memory_budget = {{ $values.memoryBudget | quote }}

[telemetry]
address = "0.0.0.0:9465"
log_format = "json"

[admin]
socket = "/var/run/respgate/admin/control.sock"
{{- with $values.extraConfig }}

{{ . }}
{{- end }}
{{ end }}

{{/* All objects besides the application's own: the configuration, the Certificate, the PodMonitor. */}}
{{- define "respgate.objects" -}}
{{- $values := .Values.respgate -}}
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ $values.configMapName }}
data:
  respgate.toml: | {{- include "respgate.config" . | nindent 4 }}
{{- if and $values.certificate.create (has $values.identity.source (list "secret" "projected")) }}
---
apiVersion: cert-manager.io/v1
kind: Certificate
metadata:
  name: {{ $values.identity.secretName }}
spec:
  secretName: {{ $values.identity.secretName }}
  commonName: {{ $values.identity.commonName }}
  duration: 24h
  renewBefore: 8h
  usages: [client auth, digital signature]
  privateKey: {algorithm: ECDSA, size: 256, rotationPolicy: Always}
  revisionHistoryLimit: 1
  issuerRef: {{- toYaml $values.identity.issuer | nindent 4 }}
{{- end }}
{{- if $values.podMonitor.create }}
---
apiVersion: monitoring.coreos.com/v1
kind: PodMonitor
metadata:
  name: respgate
spec:
  selector:
    matchLabels: {respgate.dev/injected: "true"}
  podMetricsEndpoints:
    - port: respgate-http
      path: /metrics
      interval: 30s
{{- end }}
{{- if $values.prometheusRule.create }}
---
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: respgate
spec:
  groups: {{- include "respgate.rules" . | nindent 4 }}
{{- end }}
{{- end }}

{{/* For NOTES.txt: what to check next. The argument: a dictionary with the root context and the name of the workload. */}}
{{- define "respgate.notes" -}}
{{- $namespace := .root.Release.Namespace -}}
{{- $values := .root.Values.respgate -}}
respgate runs beside the application, which connects to {{ include "respgate.url" .root }}. Check next:

1. The sidecar has started. If not, its last line has the reason:
     kubectl -n {{ $namespace }} rollout status {{ .workload }}
     kubectl -n {{ $namespace }} logs {{ .workload }} -c respgate
2. The server accepts it, step by step:
     kubectl -n {{ $namespace }} exec {{ .workload }} -c respgate -- respgate check --connect --config /etc/respgate/respgate.toml
   Its user has no more rights than the policy (as an operator of the server; the user itself may not ask):
     redis-cli ACL LIST | kubectl -n {{ $namespace }} exec -i {{ .workload }} -c respgate -- respgate acl --diff - --config /etc/respgate/respgate.toml
3. A dangerous command is refused:
     kubectl -n {{ $namespace }} exec {{ .workload }} -c respgate -- respgate explain --config /etc/respgate/respgate.toml FLUSHALL
{{- if eq $values.identity.source "secret" }}
4. The certificate is renewed in time:
     kubectl -n {{ $namespace }} get certificate {{ $values.identity.secretName }}
{{- end }}
{{- end }}
