{{/* The groups of deploy/prometheus/rules.yaml, which tests/monitoring/rules.py writes here. */}}
{{- define "respgate.rules" -}}
{{ `- name: respgate.rules
  rules:
    - record: respgate:commands:rate5m
      expr: 'sum by (namespace, job, family) (rate(respgate_commands_total[5m]))'
    - record: respgate:errors:ratio_rate5m
      expr: 'sum by (namespace, job) (rate(respgate_replies_total{result=~"redis_error|timeout|unavailable"}[5m])) / (sum by (namespace, job) (rate(respgate_replies_total[5m])) > 0)'
    - record: respgate:denied:rate5m
      expr: 'sum by (namespace, job, rule) (rate(respgate_commands_denied_total[5m]))'
    - record: respgate:latency_seconds:p99_5m
      expr: 'histogram_quantile(0.99, sum by (namespace, job, class, le) (rate(respgate_command_duration_seconds_bucket[5m])))'
    - record: respgate:upstream_latency_seconds:p99_5m
      expr: 'histogram_quantile(0.99, sum by (namespace, job, le) (rate(respgate_upstream_command_duration_seconds_bucket[5m])))'
    - record: respgate:queue_wait_seconds:p99_5m
      expr: 'histogram_quantile(0.99, sum by (namespace, job, le) (rate(respgate_upstream_queue_wait_seconds_bucket[5m])))'
    - record: respgate:certificate_remaining:ratio
      expr: '(respgate_tls_certificate_not_after_timestamp_seconds - time()) / (respgate_tls_certificate_not_after_timestamp_seconds - respgate_tls_certificate_not_before_timestamp_seconds)'
    - record: respgate:handshake_failure:ratio_rate5m
      expr: 'sum by (namespace, job) (rate(respgate_tls_handshakes_total{result="failed"}[5m])) / (sum by (namespace, job) (rate(respgate_tls_handshakes_total[5m])) > 0)'
    - record: respgate:slo_errors:ratio_rate5m
      expr: 'sum by (namespace, job) (rate(respgate_replies_total{result=~"timeout|unavailable"}[5m])) / (sum by (namespace, job) (rate(respgate_replies_total[5m])) > 0)'
    - record: respgate:slo_errors:ratio_rate30m
      expr: 'sum by (namespace, job) (rate(respgate_replies_total{result=~"timeout|unavailable"}[30m])) / (sum by (namespace, job) (rate(respgate_replies_total[30m])) > 0)'
    - record: respgate:slo_errors:ratio_rate1h
      expr: 'sum by (namespace, job) (rate(respgate_replies_total{result=~"timeout|unavailable"}[1h])) / (sum by (namespace, job) (rate(respgate_replies_total[1h])) > 0)'
    - record: respgate:slo_errors:ratio_rate6h
      expr: 'sum by (namespace, job) (rate(respgate_replies_total{result=~"timeout|unavailable"}[6h])) / (sum by (namespace, job) (rate(respgate_replies_total[6h])) > 0)'

- name: respgate.alerts
  rules:
    - alert: RespgateCertificateExpiresSoon
      expr: 'respgate:certificate_remaining:ratio{role="client"} < 0.2'
      for: 10m
      labels: {severity: warning}
      annotations:
        summary: 'The client certificate of {{ $labels.instance }} was not renewed'
        description: 'Less than a fifth of its lifetime is left. Renewal usually happens when a third is left.'
        runbook_url: deploy/docs/runbooks.md#respgatecertificateexpiressoon
    - alert: RespgateCertificateExpired
      expr: 'respgate_tls_certificate_not_after_timestamp_seconds{role=~"client|upstream_peer"} <= time()'
      labels: {severity: critical}
      annotations:
        summary: 'A certificate ({{ $labels.role }}) of {{ $labels.instance }} has expired'
        description: 'New connections to the server fail. role="client" is the certificate of respgate, role="upstream_peer" that of the server.'
        runbook_url: deploy/docs/runbooks.md#respgatecertificateexpired
    - alert: RespgateTrustAnchorExpiresSoon
      expr: 'respgate_tls_certificate_not_after_timestamp_seconds{role="trust_anchor"} - time() < 30 * 86400'
      for: 10m
      labels: {severity: warning}
      annotations:
        summary: 'A CA that {{ $labels.instance }} trusts expires within 30 days'
        description: 'After that no certificate of the server is accepted that this CA has signed.'
        runbook_url: deploy/docs/runbooks.md#respgatetrustanchorexpiressoon
    - alert: RespgateUpstreamPeerCertificateExpiresSoon
      expr: '(respgate_tls_certificate_not_after_timestamp_seconds{role="upstream_peer"} - time() < 7 * 86400) and respgate:certificate_remaining:ratio{role="upstream_peer"} < 0.3'
      for: 10m
      labels: {severity: warning}
      annotations:
        summary: 'The certificate of the server that {{ $labels.instance }} uses was not renewed'
        description: 'It expires within 7 days, and less than 30 % of its lifetime is left.'
        runbook_url: deploy/docs/runbooks.md#respgateupstreampeercertificateexpiressoon
    - alert: RespgateRevocationListExpiresSoon
      expr: 'respgate_tls_crl_next_update_timestamp_seconds - time() < 3600 and respgate_tls_crl_next_update_timestamp_seconds > time()'
      for: 10m
      labels: {severity: warning}
      annotations:
        summary: 'A list of revoked certificates ({{ $labels.side }}) of {{ $labels.instance }} was not replaced'
        description: 'It expires within an hour. After that new connections are refused, unless crl_expired = "accept".'
        runbook_url: deploy/docs/runbooks.md#respgaterevocationlistexpiressoon
    - alert: RespgateRevocationListExpired
      expr: 'respgate_tls_crl_next_update_timestamp_seconds <= time()'
      labels: {severity: critical}
      annotations:
        summary: 'A list of revoked certificates ({{ $labels.side }}) of {{ $labels.instance }} has expired'
        description: 'New connections are refused (TLS-E021), unless crl_expired = "accept". side="upstream" is the list for the server, side="listener" that for applications.'
        runbook_url: deploy/docs/runbooks.md#respgaterevocationlistexpired
    - alert: RespgateReloadRejected
      expr: 'respgate_reload_last_success_timestamp_seconds < respgate_reload_last_attempt_timestamp_seconds'
      for: 2m
      labels: {severity: warning}
      annotations:
        summary: '{{ $labels.instance }} rejected a reload of {{ $labels.what }}'
        description: 'The version before stays in force. respgate_reload_rejections_total and the log name the reason.'
        runbook_url: deploy/docs/runbooks.md#respgatereloadrejected
    - alert: RespgateReloadNotHappening
      expr: 'time() - respgate_reload_last_success_timestamp_seconds{what="tls_identity"} > ignoring (what, role) 0.8 * (respgate_tls_certificate_not_after_timestamp_seconds{role="client"} - respgate_tls_certificate_not_before_timestamp_seconds{role="client"})'
      for: 10m
      labels: {severity: warning}
      annotations:
        summary: '{{ $labels.instance }} has had no successful load of its certificate for 80 % of the lifetime'
        description: 'The renewal, or the mount of the files, does not work. A Kubernetes mount with subPath never changes.'
        runbook_url: deploy/docs/runbooks.md#respgatereloadnothappening
    - alert: RespgateOldConnectionsStillInUse
      expr: 'respgate_upstream_connections{state="draining"} > 0'
      for: 10m
      labels: {severity: warning}
      annotations:
        summary: '{{ $labels.instance }} cannot close connections that were replaced'
        description: 'They may still use the certificate or the password from before a rotation.'
        runbook_url: deploy/docs/runbooks.md#respgateoldconnectionsstillinuse
    - alert: RespgateReloadWatchDown
      expr: 'respgate_reload_watch_up == 0'
      for: 10m
      labels: {severity: info}
      annotations:
        summary: '{{ $labels.instance }} notices changed files only by polling'
        description: 'The system permitted no inotify watch. Rotations work, but later.'
        runbook_url: deploy/docs/runbooks.md#respgatereloadwatchdown
    - alert: RespgateUpstreamDown
      expr: 'respgate_upstream_up == 0'
      for: 1m
      labels: {severity: critical}
      annotations:
        summary: '{{ $labels.instance }} has no connection to its server'
        description: 'Commands wait, then clients are closed or answered with an error, according to upstream.on_outage.'
        runbook_url: deploy/docs/runbooks.md#respgateupstreamdown
    - alert: RespgateCircuitOpen
      expr: 'respgate_circuit_state{state="open"} == 1'
      for: 2m
      labels: {severity: warning}
      annotations:
        summary: '{{ $labels.instance }} waits before it dials its server again'
        description: 'Attempts to connect have failed for 2 minutes. respgate_upstream_connects_total names the step that fails.'
        runbook_url: deploy/docs/runbooks.md#respgatecircuitopen
    - alert: RespgateRetriesOverBudget
      expr: 'sum by (namespace, job, instance) (increase(respgate_upstream_retries_total{result="budget"}[10m])) > 0'
      labels: {severity: warning}
      annotations:
        summary: '{{ $labels.instance }} does not send all lost reads again'
        description: 'The server ends connections so often that reads lost with them exceed upstream.retry.budget; their clients see the loss.'
        runbook_url: deploy/docs/runbooks.md#respgateretriesoverbudget
    - alert: RespgateTlsHandshakeFailures
      expr: 'respgate:handshake_failure:ratio_rate5m > 0.05'
      for: 5m
      labels: {severity: critical}
      annotations:
        summary: 'TLS handshakes with the server fail'
        description: 'More than 5 % of the handshakes of {{ $labels.job }} fail. respgate_tls_handshake_failures_total names the reason.'
        runbook_url: deploy/docs/runbooks.md#respgatetlshandshakefailures
    - alert: RespgateUpstreamAuthFailures
      expr: 'sum without (result) (increase(respgate_upstream_auth_total{result!="ok"}[5m])) > 3'
      for: 2m
      labels: {severity: critical}
      annotations:
        summary: 'The server refuses the login of {{ $labels.instance }}'
        description: 'More than 3 logins failed in 5 minutes: a wrong password, or a user that is off or has too few rights.'
        runbook_url: deploy/docs/runbooks.md#respgateupstreamauthfailures
    - alert: RespgateClientAuthFailures
      expr: 'rate(respgate_client_auth_total{result="failed"}[5m]) > 0.1'
      for: 5m
      labels: {severity: warning}
      annotations:
        summary: 'Many logins of applications fail at {{ $labels.instance }}'
        description: 'More than one login in 10 s fails: an application has a wrong password, or passwords are being guessed.'
        runbook_url: deploy/docs/runbooks.md#respgateclientauthfailures
    - alert: RespgatePolicyViolationsSpike
      expr: 'sum by (namespace, job) (respgate:denied:rate5m) > 1 and sum by (namespace, job) (respgate:denied:rate5m) > 10 * sum by (namespace, job) (avg_over_time(respgate:denied:rate5m[1d]))'
      for: 2m
      labels: {severity: warning}
      annotations:
        summary: 'Far more commands are denied than usual'
        description: '{{ $labels.job }} denies more than one command a second, and ten times the average of a day.'
        runbook_url: deploy/docs/runbooks.md#respgatepolicyviolationsspike
    - alert: RespgateNamespaceEscapeAttempts
      expr: 'sum without (command, rule) (increase(respgate_commands_denied_total{rule="namespace"}[10m])) > 20'
      labels: {severity: critical}
      annotations:
        summary: 'An application behind {{ $labels.instance }} sends commands on keys of others'
        description: 'More than 20 commands in 10 minutes named keys outside the prefix. None was executed.'
        runbook_url: deploy/docs/runbooks.md#respgatenamespaceescapeattempts
    - alert: RespgateDangerousCommandAttempt
      expr: 'increase(respgate_commands_denied_total{rule=~"command|category",command=~"(?i)(FLUSH.*|CONFIG|DEBUG|ACL|SHUTDOWN|MODULE)"}[5m]) > 0 or (respgate_commands_denied_total{rule=~"command|category",command=~"(?i)(FLUSH.*|CONFIG|DEBUG|ACL|SHUTDOWN|MODULE)"} unless respgate_commands_denied_total{rule=~"command|category",command=~"(?i)(FLUSH.*|CONFIG|DEBUG|ACL|SHUTDOWN|MODULE)"} offset 5m)'
      labels: {severity: warning}
      annotations:
        summary: '{{ $labels.instance }} denied {{ $labels.command }}'
        description: 'An application sent a command that administers or empties the server. It was not executed.'
        runbook_url: deploy/docs/runbooks.md#respgatedangerouscommandattempt
    - alert: RespgateLatencyHigh
      expr: 'respgate:latency_seconds:p99_5m{class=~"|read|write"} > 0.02'
      for: 10m
      labels: {severity: warning}
      annotations:
        summary: 'Commands of {{ $labels.job }} are slow'
        description: 'The 99th percentile of {{ $labels.class }} commands is above 20 ms, as applications see it.'
        runbook_url: deploy/docs/runbooks.md#respgatelatencyhigh
    - alert: RespgateQueueSaturated
      expr: 'respgate:queue_wait_seconds:p99_5m > 0.05'
      for: 5m
      labels: {severity: warning}
      annotations:
        summary: 'Commands of {{ $labels.job }} wait for a connection to the server'
        description: 'The 99th percentile of the wait is above 50 ms: connections are lost, and new ones are not ready in time.'
        runbook_url: deploy/docs/runbooks.md#respgatequeuesaturated
    - alert: RespgateClientsRejected
      expr: 'increase(respgate_client_connections_rejected_total{reason="max_clients"}[5m]) > 0'
      labels: {severity: warning}
      annotations:
        summary: '{{ $labels.instance }} refuses clients'
        description: 'limits.max_clients is reached: an application leaks connections, or the limit is too low.'
        runbook_url: deploy/docs/runbooks.md#respgateclientsrejected
    - alert: RespgateConfigDrift
      expr: 'count by (namespace, job) (count_values by (namespace, job) ("hash", respgate_config_hash)) > 1'
      for: 30m
      labels: {severity: info}
      annotations:
        summary: 'Instances of {{ $labels.job }} have different configurations'
        description: 'For 30 minutes, respgate_config_hash has differed within the job.'
        runbook_url: deploy/docs/runbooks.md#respgateconfigdrift
    - alert: RespgateFdExhaustion
      expr: 'process_open_fds / process_max_fds > 0.9 and on (job, instance) respgate_build_info'
      for: 5m
      labels: {severity: warning}
      annotations:
        summary: '{{ $labels.instance }} has nearly no file descriptors left'
        description: 'More than 90 % are in use; soon no connection can be opened.'
        runbook_url: deploy/docs/runbooks.md#respgatefdexhaustion
    - alert: RespgateAuditLoss
      expr: 'sum without (result) (increase(respgate_audit_events_total{result!="written"}[5m])) > 0'
      labels: {severity: critical}
      annotations:
        summary: 'The audit log of {{ $labels.instance }} is not written'
        description: 'A sink of type {{ $labels.sink }} failed, or found no room for events. Under drop they are lost, under block and fail_closed commands are refused.'
        runbook_url: deploy/docs/runbooks.md#respgateauditloss
    - alert: RespgateLogLoss
      expr: 'increase(respgate_log_events_dropped_total[10m]) > 0'
      labels: {severity: info}
      annotations:
        summary: '{{ $labels.instance }} drops log lines'
        description: 'Denials among them are still counted in the metrics, but not described in the log.'
        runbook_url: deploy/docs/runbooks.md#respgatelogloss
    - alert: RespgateAbsent
      expr: 'absent(respgate_build_info)'
      for: 10m
      labels: {severity: warning}
      annotations:
        summary: 'Prometheus has no metrics of a respgate'
        description: 'No target delivers the metrics of a respgate: none runs, or the scrape fails.'
        runbook_url: deploy/docs/runbooks.md#respgateabsent
    - alert: RespgateRestarting
      expr: 'changes(process_start_time_seconds[30m]) > 2 and on (job, instance) respgate_build_info'
      labels: {severity: warning}
      annotations:
        summary: '{{ $labels.instance }} restarts repeatedly'
        description: 'It has started more than twice within 30 minutes: it crashes, is out of memory, or its liveness probe fails.'
        runbook_url: deploy/docs/runbooks.md#respgaterestarting
    - alert: RespgateMemoryNearLimit
      expr: 'container_memory_working_set_bytes{container="respgate"} / on (namespace, pod, container) group_left kube_pod_container_resource_limits{container="respgate",resource="memory"} > 0.9'
      for: 5m
      labels: {severity: warning}
      annotations:
        summary: '{{ $labels.pod }}: respgate uses nearly all of its memory limit'
        description: 'Above the limit the kernel ends the process, and all its clients are disconnected.'
        runbook_url: deploy/docs/runbooks.md#respgatememorynearlimit
    - alert: RespgateErrorBudgetBurn
      expr: '(respgate:slo_errors:ratio_rate5m > 14.4 * 0.001 and respgate:slo_errors:ratio_rate1h > 14.4 * 0.001) or (respgate:slo_errors:ratio_rate30m > 6 * 0.001 and respgate:slo_errors:ratio_rate6h > 6 * 0.001)'
      labels: {severity: critical}
      annotations:
        summary: '{{ $labels.job }} spends its error budget too fast'
        description: 'Too many replies were a timeout or "unavailable". At this rate a budget of 0.1 % in 30 days is spent within 5 days.'
        runbook_url: deploy/docs/runbooks.md#respgateerrorbudgetburn` }}
{{- end }}
