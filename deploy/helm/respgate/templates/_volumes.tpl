{{/* Items of the pod's volumes. */}}
{{- define "respgate.volumes" -}}
{{- $values := .Values.respgate -}}
- name: respgate-config
  configMap: {name: {{ $values.configMapName }}}
{{- if eq $values.identity.source "secret" }}
- name: respgate-tls
  secret: {secretName: {{ $values.identity.secretName }}, defaultMode: 0444}
{{- else if eq $values.identity.source "csi" }}
- name: respgate-tls
  csi:
    driver: csi.cert-manager.io
    readOnly: true
    volumeAttributes:
      csi.cert-manager.io/issuer-group: {{ $values.identity.issuer.group }}
      csi.cert-manager.io/issuer-kind: {{ $values.identity.issuer.kind }}
      csi.cert-manager.io/issuer-name: {{ $values.identity.issuer.name }}
      csi.cert-manager.io/common-name: {{ $values.identity.commonName }}
      csi.cert-manager.io/key-usages: client auth,digital signature
      csi.cert-manager.io/duration: 24h
      csi.cert-manager.io/renew-before: 8h
      csi.cert-manager.io/fs-group: "65532"
{{- else if eq $values.identity.source "projected" }}
- name: respgate-tls
  projected:
    defaultMode: 0444
    sources:
      - secret:
          name: {{ $values.identity.secretName }}
          items:
            - {key: tls.crt, path: tls.crt}
            - {key: tls.key, path: tls.key}
      - configMap:
          name: {{ $values.identity.bundleName }}
          items:
            - {key: ca.crt, path: ca.crt}
{{- end }}
{{- if eq $values.identity.source "projected" }}
- name: respgate-auth
  projected:
    defaultMode: 0444
    sources:
      - secret:
          name: {{ $values.auth.secretName }}
          items:
            - {key: password, path: password}
{{- else if ne $values.identity.source "vault" }}
- name: respgate-auth
  secret: {secretName: {{ $values.auth.secretName }}, defaultMode: 0444}
{{- end }}
- name: respgate-admin
  emptyDir: {medium: Memory, sizeLimit: 1Mi}
{{- if $values.socket.enabled }}
- name: respgate-socket
  emptyDir: {medium: Memory, sizeLimit: 1Mi}
{{- end }}
{{- end }}

{{/* Items of the application container's volumeMounts: the directory of the socket, or none. */}}
{{- define "respgate.volumeMounts" -}}
{{- if .Values.respgate.socket.enabled -}}
- {name: respgate-socket, mountPath: /var/run/respgate/socket}
{{- end }}
{{- end }}

{{/* Where the application connects. */}}
{{- define "respgate.url" -}}
{{- if .Values.respgate.socket.enabled }}unix:///var/run/respgate/socket/redis.sock{{ else }}redis://127.0.0.1:6379{{ end }}
{{- end }}
