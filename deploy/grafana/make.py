#!/usr/bin/env python3
"""Writes the dashboards beside this file: python3 deploy/grafana/make.py [FOLDER]. Change them here, not in the JSON."""

import json
import pathlib
import sys

WHERE = 'job=~"$job",instance=~"$instance"'


# What the alert RespgateErrorBudgetBurn counts.
LOST = ',result=~"timeout|unavailable"'


def rate(metric, by="", more=""):
    return f"sum by ({by}) (rate({metric}{{{WHERE}{more}}}[$__rate_interval]))"


def total(metric, by="instance", more=""):
    return f"sum by ({by}) ({metric}{{{WHERE}{more}}})"


def quantiles(metric, by=""):
    labels = f"le, {by}" if by else "le"
    name = f" {{{{{by}}}}}" if by else ""
    return [
        (f"histogram_quantile({q}, {rate(metric + '_bucket', labels)})", f"p{str(q)[2:].ljust(2, '0')}{name}")
        for q in (0.5, 0.99)
    ]


def one(expression, legend):
    return [(expression, legend)]


def days_left(role):
    return f'min by (instance) (respgate_tls_certificate_not_after_timestamp_seconds{{{WHERE},role="{role}"}}) - time()'


DASHBOARDS = {
    "security-overview": ("Security overview", [
        ("Failed logins of applications", "cps", one(rate("respgate_client_auth_total", "instance", ',result="failed"'), "{{instance}}")),
        ("Logins of respgate at the server, by result", "cps", one(rate("respgate_upstream_auth_total", "result"), "{{result}}")),
        ("Denials by rule", "cps", one(rate("respgate_commands_denied_total", "rule"), "{{rule}}")),
        ("Denials by command", "cps", one(f'topk(10, {rate("respgate_commands_denied_total", "command")})', "{{command}}")),
        ("Keys of others asked for", "cps", one(rate("respgate_commands_denied_total", "instance", ',rule="namespace"'), "{{instance}}")),
        ("Certificates: time left", "left", [(days_left(role), role + " {{instance}}") for role in ("client", "upstream_peer", "trust_anchor")]),
        ("Failed TLS handshakes by reason", "cps", one(rate("respgate_tls_handshake_failures_total", "reason"), "{{reason}}")),
        # A series begins with its first rejection: a rate would not show it.
        ("Rejected reloads since the start", "short", one(total("respgate_reload_rejections_total", "what, reason"), "{{what}} {{reason}}")),
        ("Policies and their modes", "number", one(total("respgate_policy_info", "policy, mode"), "{{policy}} {{mode}}")),
        ("Blocks in force", "number", one(total("respgate_blocked", "what"), "{{what}}")),
        ("Clients disconnected by cause", "cps", one(rate("respgate_client_disconnects_total", "reason"), "{{reason}}")),
        ("Audit entries by result", "cps", one(rate("respgate_audit_events_total", "sink, result"), "{{sink}} {{result}}")),
        ("Audit entries that wait", "bytes", one(total("respgate_audit_queue_bytes"), "{{instance}}")),
        ("Log lines dropped", "cps", one(rate("respgate_log_events_dropped_total", "instance"), "{{instance}}")),
    ]),
    "access-patterns": ("Access patterns", [
        ("Commands by family", "cps", one(rate("respgate_commands_total", "family"), "{{family}}")),
        ("Commands by class", "cps", one(rate("respgate_command_duration_seconds_count", "class"), "{{class}}")),
        ("Clients by listener", "short", one(total("respgate_client_connections", "listener"), "{{listener}}")),
        ("New clients by listener", "cps", one(rate("respgate_client_connections_total", "listener"), "{{listener}}")),
        ("Clients by address", "short", one(total("respgate_listener_connections", "address"), "{{address}}")),
        ("Commands by policy", "cps", one(rate("respgate_policy_commands_total", "policy"), "{{policy}}")),
        ("Denials by policy", "cps", one(rate("respgate_policy_denied_total", "policy"), "{{policy}}")),
        ("Clients with a connection of their own", "short", one(total("respgate_client_pinned_connections", "cause"), "{{cause}}")),
        ("Replies by result", "cps", one(rate("respgate_replies_total", "result"), "{{result}}")),
        ("Policy violations by instance", "cps", one(rate("respgate_commands_denied_total", "instance"), "{{instance}}")),
        ("Errors of the server by code", "cps", one(rate("respgate_upstream_errors_total", "code"), "{{code}}")),
        ("Commands in one read of a client", "short", quantiles("respgate_pipeline_depth")),
        ("Bytes of clients", "Bps", [(rate("respgate_client_receive_bytes_total", "instance"), "read {{instance}}"), (rate("respgate_client_transmit_bytes_total", "instance"), "written {{instance}}")]),
        ("Clients that sent no RESP", "cps", one(rate("respgate_client_protocol_errors_total", "kind"), "{{kind}}")),
    ]),
    "performance": ("Performance", [
        ("Latency as applications see it", "s", quantiles("respgate_command_duration_seconds", "class")),
        ("Latency of the server", "s", quantiles("respgate_upstream_command_duration_seconds")),
        ("Wait before sending", "s", quantiles("respgate_upstream_queue_wait_seconds")),
        ("Commands that wait to be sent", "short", one(total("respgate_upstream_queue_depth"), "{{instance}}")),
        ("Commands in flight", "short", one(total("respgate_commands_in_flight"), "{{instance}}")),
        ("Commands in one write to the server", "short", quantiles("respgate_upstream_batch_commands")),
        ("Bytes of the server", "Bps", [(rate("respgate_upstream_receive_bytes_total", "instance"), "read {{instance}}"), (rate("respgate_upstream_transmit_bytes_total", "instance"), "written {{instance}}")]),
        ("Processors used", "short", one(rate("process_cpu_seconds_total", "instance"), "{{instance}}")),
        ("Memory", "bytes", [(total("process_resident_memory_bytes"), "resident {{instance}}"), (total("respgate_buffer_bytes"), "buffers {{instance}}")]),
        ("File descriptors", "short", one(total("process_open_fds"), "{{instance}}")),
        ("Commands the server did not answer in time", "cps", one(rate("respgate_upstream_timeouts_total", "instance"), "{{instance}}")),
        ("Replies lost to the server, as part of all (error budget: 0.1 %)", "percentunit", one(f'{rate("respgate_replies_total", "instance", LOST)} / {rate("respgate_replies_total", "instance")}', "{{instance}}")),
        ("Answered although the server cannot be reached", "cps", one(rate("respgate_degraded_replies_total", "mode"), "{{mode}}")),
        ("State", "short", one(total("respgate_state", "state"), "{{state}}")),
        ("Commands sent again", "cps", one(rate("respgate_upstream_retries_total", "result"), "{{result}}")),
    ]),
    "tls-and-pool": ("TLS and pool", [
        ("Server reached", "short", one(total("respgate_upstream_up"), "{{instance}}")),
        ("Connections by state", "short", one(total("respgate_upstream_connections", "state"), "{{state}}")),
        ("Attempts to connect by result", "cps", one(rate("respgate_upstream_connects_total", "result"), "{{result}}")),
        ("Time spent connecting by step", "percentunit", one(rate("respgate_upstream_connect_phase_seconds_total", "phase"), "{{phase}}")),
        ("Ended connections by reason", "cps", one(rate("respgate_upstream_disconnects_total", "reason"), "{{reason}}")),
        ("Circuit by state", "short", one(total("respgate_circuit_state", "state"), "{{state}}")),
        ("Wait before the next attempt", "s", one(total("respgate_upstream_reconnect_backoff_seconds"), "{{instance}}")),
        ("Health checks", "cps", one(rate("respgate_upstream_health_checks_total", "result"), "{{result}}")),
        ("Handshakes by result", "cps", one(rate("respgate_tls_handshakes_total", "result"), "{{result}}")),
        ("Time of handshakes", "s", quantiles("respgate_tls_handshake_duration_seconds")),
        ("Generation of the identity", "number", one(total("respgate_tls_identity_generation"), "{{instance}}")),
        ("Certificates in use", "number", one(total("respgate_tls_certificate_info", "role, fingerprint"), "{{role}} {{fingerprint}}")),
        ("Reloads", "cps", one(rate("respgate_reload_attempts_total", "what, result"), "{{what}} {{result}}")),
    ]),
}


def variable(name):
    query = f"label_values(respgate_build_info, {name})"
    return {
        "name": name, "type": "query", "datasource": {"type": "prometheus", "uid": "${datasource}"},
        "query": {"query": query, "refId": name}, "definition": query,
        "refresh": 2, "includeAll": True, "allValue": ".*", "multi": True, "sort": 1,
        "current": {"text": "All", "value": "$__all"},
    }


DAY = 86400
# Figures of this moment instead of lines: the unit, and from which value on which colour.
NUMBERS = {
    "number": ("short", [(None, "text")]),
    "left": ("s", [(None, "red"), (DAY / 4, "orange"), (7 * DAY, "green")]),
}


def kind(unit):
    if unit not in NUMBERS:
        return {"type": "timeseries", "fieldConfig": {"defaults": {"unit": unit, "custom": {"axisSoftMin": 0}}, "overrides": []}}
    unit, colours = NUMBERS[unit]
    steps = [{"value": value, "color": colour} for value, colour in colours]
    return {
        "type": "stat", "options": {"textMode": "value_and_name", "reduceOptions": {"calcs": ["lastNotNull"]}, "colorMode": "value"},
        "fieldConfig": {"defaults": {"unit": unit, "thresholds": {"mode": "absolute", "steps": steps}}, "overrides": []},
    }


def dashboard(name, title, panels):
    source = {"name": "datasource", "type": "datasource", "query": "prometheus"}
    drawn = []
    for place, (heading, unit, queries) in enumerate(panels):
        drawn.append({
            "id": place + 1, "title": heading, **kind(unit),
            "datasource": {"type": "prometheus", "uid": "${datasource}"},
            "gridPos": {"x": place % 2 * 12, "y": place // 2 * 8, "w": 12, "h": 8},
            "targets": [{"refId": chr(65 + at), "expr": e, "legendFormat": legend} for at, (e, legend) in enumerate(queries)],
        })
    return {
        "uid": f"respgate-{name}", "title": f"respgate: {title}", "tags": ["respgate"], "schemaVersion": 39, "editable": True,
        "time": {"from": "now-6h", "to": "now"}, "refresh": "30s",
        "templating": {"list": [source, variable("job"), variable("instance")]}, "panels": drawn,
    }


def main():
    folder = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parent)
    for name, (title, panels) in DASHBOARDS.items():
        (folder / f"{name}.json").write_text(json.dumps(dashboard(name, title, panels), indent=1) + "\n")


if __name__ == "__main__":
    main()
