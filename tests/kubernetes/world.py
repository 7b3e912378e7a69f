"""Own checks of what belongs together: pods, configuration, certificates, policies of the network, monitoring."""

import os
import re
import subprocess
import tempfile
import tomllib

from pods import SIDECAR, containers, is_ours, quantity, sidecars

# What the program needs besides the buffers that limits.memory_budget bounds: see deploy/docs/kubernetes.md.
PROGRAM_BYTES = 24 * 2**20
DRAIN_MAX = 20
GRACE = 30
SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "": 1}
BYTES = {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}


def seconds(text):
    number, unit = re.fullmatch(r"([0-9.]+)([a-z]*)", text).groups()
    return float(number) * SECONDS[unit]


def byte_count(text):
    number, unit = re.fullmatch(r"([0-9]+)([A-Za-z]+)", text).groups()
    return int(number) * BYTES[unit]


def configurations(rendering):
    """The ConfigMaps with a respgate.toml by name and namespace."""
    return {
        (each["metadata"].get("namespace"), each["metadata"]["name"]): each["data"]["respgate.toml"]
        for each in rendering.of("ConfigMap")
        if "respgate.toml" in each.get("data", {})
    }


def configured(rendering):
    """Each sidecar with its configuration, or None."""
    texts = configurations(rendering)
    for workload, _, spec, container in sidecars(rendering):
        name = next(
            (each["configMap"]["name"] for each in spec["volumes"] if each["name"] == "respgate-config"), None
        )
        text = texts.get((workload["metadata"].get("namespace"), name))
        yield workload, spec, container, text


def accepted(rendering, respgate):
    """`respgate check` finds nothing wrong, with the environment of the container."""
    for workload, _, container, text in configured(rendering):
        where = workload["metadata"]["name"]
        if text is None:
            yield f"{where}: its ConfigMap is not rendered"
            continue
        variables = {each["name"]: each["value"] for each in container.get("env", []) if "value" in each}
        with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
            file.write(text)
            file.flush()
            done = subprocess.run(
                [respgate, "check", "--skip-files", "--config", file.name],
                env={"PATH": os.environ["PATH"], **variables}, capture_output=True, text=True, check=False,
            )
        if done.returncode != 0 or "no problems" not in done.stdout:
            yield f"{where}: {done.stdout}{done.stderr}"


def files(rendering):
    """Every path of the configuration is in a mount of the sidecar; telemetry answers probes of the kubelet."""
    for workload, spec, container, text in configured(rendering):
        where = workload["metadata"]["name"]
        if text is None:
            continue
        annotations = next(meta for each, meta, _ in rendering.pods() if each is workload).get("annotations", {})
        mounted = [each["mountPath"] for each in container["volumeMounts"]]
        mounted += [each for key, each in annotations.items() if key == "vault.hashicorp.com/secret-volume-path"]
        config = tomllib.loads(text)
        upstream = config["upstream"]
        paths = [path for key, path in upstream["tls"].items() if key in ("cert", "key", "ca")]
        paths += [upstream["auth"]["password_file"], config["admin"]["socket"]]
        paths += [each["address"][5:] for each in config["listener"] if each["address"].startswith("unix:")]
        for path in paths:
            if not any(path.startswith(mount + "/") for mount in mounted):
                yield f"{where}: {path} is in no mount"
        projected = {
            item["path"]: volume["name"]
            for volume in spec["volumes"] if "projected" in volume
            for source in volume["projected"]["sources"]
            for item in next(iter(source.values()))["items"]
        }
        if projected and set(projected) != {"tls.crt", "tls.key", "ca.crt", "password"}:
            yield f"{where}: projected files {sorted(projected)}"
        if config["telemetry"]["address"] not in ("0.0.0.0:9465", "[::]:9465"):
            yield f"{where}: the kubelet cannot ask {config['telemetry']['address']}"


def limits(rendering):
    """The memory limit holds program and buffers; the pod's grace period holds the drain."""
    for workload, spec, container, text in configured(rendering):
        where = workload["metadata"]["name"]
        config = tomllib.loads(text or "")
        budget = byte_count(config.get("limits", {}).get("memory_budget", "256MiB"))
        limit = quantity(container["resources"]["limits"]["memory"])
        if limit < budget + PROGRAM_BYTES:
            yield f"{where}: {budget} bytes of buffers in a limit of {limit:.0f}"
        drain = seconds(config.get("drain", {}).get("max", f"{DRAIN_MAX}s"))
        if spec.get("terminationGracePeriodSeconds", GRACE) <= drain:
            yield f"{where}: the grace period ends before drain.max"


def socket(rendering):
    """With a Unix socket: the application runs as a user that may connect, and sees the directory."""
    for workload, spec, _, text in configured(rendering):
        config = tomllib.loads(text or "")
        listener = config.get("listener", [{}])[0]
        if not listener.get("address", "").startswith("unix:"):
            continue
        uids = {uid for user in config.get("user", []) for uid in user.get("uids", [])}
        for container in spec["containers"]:
            if container["name"] == SIDECAR:
                continue
            if container["securityContext"].get("runAsUser") not in uids:
                yield f"{workload['metadata']['name']}: {container['name']} runs as a user that may not connect"
            if "respgate-socket" not in {each["name"] for each in container.get("volumeMounts", [])}:
                yield f"{workload['metadata']['name']}: {container['name']} does not see the socket"


def certificates(rendering):
    """The Secret of a Certificate is the one that is mounted, and the certificate is one for a client."""
    for workload, spec, _, text in configured(rendering):
        tls = next((each for each in spec["volumes"] if each["name"] == "respgate-tls"), {})
        names = {tls.get("secret", {}).get("secretName")}
        names |= {each.get("secret", {}).get("name") for each in tls.get("projected", {}).get("sources", [])}
        made = [
            each["spec"] for each in rendering.of("Certificate")
            if each["metadata"].get("namespace") == workload["metadata"].get("namespace")
        ]
        made += [each["spec"]["target"] | {"secretName": each["spec"]["target"]["name"]}
                 for each in rendering.of("ExternalSecret") if each["metadata"]["name"] == "respgate-client-tls"]
        for each in made:
            if each["secretName"] not in names:
                yield f"{workload['metadata']['name']}: nothing mounts {each['secretName']}"
            if "usages" in each and "client auth" not in each["usages"]:
                yield f"{each['secretName']}: not a certificate for a client"
            user = tomllib.loads(text or "").get("upstream", {}).get("auth", {}).get("username")
            if "commonName" in each and each["commonName"] != user:
                yield f"{each['secretName']}: its name is not that of the user {user}"


def selected(rendering, namespaces):
    """Network policies and monitoring select what is there: labels of pods, names and numbers of ports."""
    pods = list(rendering.pods())

    def matching(selector):
        labels = selector.get("matchLabels", {}).items()
        return [spec for _, metadata, spec in pods if labels <= metadata.get("labels", {}).items()]

    for monitor in rendering.of("PodMonitor"):
        wanted = {each["port"] for each in monitor["spec"]["podMetricsEndpoints"]}
        for spec in matching(monitor["spec"]["selector"]) or [{}]:
            names = {port["name"] for each in containers(spec) for port in each.get("ports", [])}
            if not wanted <= names:
                yield f"PodMonitor {monitor['metadata']['name']}: no pod has the port {wanted - names}"
    for policy in rendering.of("NetworkPolicy"):
        where = f"NetworkPolicy {policy['metadata']['name']}"
        chosen = matching(policy["spec"]["podSelector"])
        if not chosen:
            yield f"{where}: selects no pod"
        for rule in policy["spec"].get("ingress", []):
            open_ports = {port["containerPort"] for spec in chosen for each in containers(spec) for port in each.get("ports", [])}
            if not rule.get("from") or not rule.get("ports"):
                yield f"{where}: permits connections from anywhere, or to any port"
            if any(port["port"] not in open_ports for port in rule.get("ports", [])):
                yield f"{where}: a port that nothing serves"
        for rule in policy["spec"].get("egress", []):
            if not rule.get("to") or not rule.get("ports"):
                yield f"{where}: permits connections to anywhere, or to any port"
            for peer in rule.get("to", []):
                name = peer.get("namespaceSelector", {}).get("matchLabels", {}).get("kubernetes.io/metadata.name")
                if name not in namespaces:
                    yield f"{where}: no namespace {name}"


def labelled(rendering):
    """A pod with respgate has the label by which policies and monitoring go; one without does not."""
    for workload, metadata, spec in rendering.pods():
        has = any(is_ours(each) for each in containers(spec))
        label = metadata.get("labels", {}).get("respgate.dev/injected") == "true"
        if has != label:
            yield f"{workload['metadata']['name']}: label {label}, sidecar {has}"


def standard(rendering):
    """Namespaces enforce what these pods pass."""
    for namespace in rendering.of("Namespace"):
        if namespace["metadata"].get("labels", {}).get("pod-security.kubernetes.io/enforce") != "restricted":
            yield f"namespace {namespace['metadata']['name']} does not enforce the restricted standard"
