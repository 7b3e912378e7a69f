"""Own checks of pods: restricted pod security, and what a sidecar needs.

Each takes a rendering and yields what is wrong with it; mutants.py has a manifest for each that it must refuse.
"""

import re
import subprocess

# Volumes that the restricted Pod Security Standard permits.
VOLUMES = {
    "configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret",
}
SIDECAR = "respgate"
PROBES = {"startupProbe": "/startupz", "livenessProbe": "/livez", "readinessProbe": "/readyz"}
QUANTITY = re.compile(r"([0-9.]+)(m|[KMG]i?)?")
UNITS = {None: 1, "m": 0.001, "K": 1e3, "M": 1e6, "G": 1e9, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30}


def quantity(text):
    number, unit = QUANTITY.fullmatch(str(text)).groups()
    return float(number) * UNITS[unit]


def containers(spec):
    return spec.get("initContainers", []) + spec.get("containers", [])


def is_ours(container):
    return name_of(container).endswith("/respgate")


def name_of(container):
    """The image without tag and digest."""
    return container["image"].partition("@")[0].rpartition(":")[0] or container["image"]


def sidecars(rendering):
    for workload, metadata, spec in rendering.pods():
        for container in containers(spec):
            if container["name"] == SIDECAR:
                yield workload, metadata, spec, container


def restricted(rendering):
    """The restricted Pod Security Standard, field by field."""
    for workload, _, spec in rendering.pods():
        where = f"{workload['kind']} {workload['metadata']['name']}"
        for field in ("hostNetwork", "hostPID", "hostIPC"):
            if spec.get(field):
                yield f"{where}: {field}"
        for volume in spec.get("volumes", []):
            for source in set(volume) - {"name"} - VOLUMES:
                yield f"{where}: volume {volume['name']} is of the kind {source}"
        pod = spec.get("securityContext", {})
        if pod.get("sysctls") or pod.get("windowsOptions", {}).get("hostProcess"):
            yield f"{where}: sysctls or hostProcess"
        for container in containers(spec):
            for wrong in restricted_container(pod, container):
                yield f"{where}, {container['name']}: {wrong}"


def restricted_container(pod, container):
    own = container.get("securityContext", {})
    both = {**pod, **own}
    if own.get("privileged"):
        yield "privileged"
    if own.get("allowPrivilegeEscalation") is not False:
        yield "allowPrivilegeEscalation is not false"
    if both.get("runAsNonRoot") is not True:
        yield "runAsNonRoot is not true"
    if both.get("runAsUser") == 0:
        yield "runs as root"
    if both.get("seccompProfile", {}).get("type") not in ("RuntimeDefault", "Localhost"):
        yield "no seccomp profile"
    if own.get("capabilities", {}).get("drop") != ["ALL"]:
        yield "capabilities are not dropped"
    if set(own.get("capabilities", {}).get("add", [])) - {"NET_BIND_SERVICE"}:
        yield "capabilities are added"
    if own.get("procMount", "Default") != "Default" or both.get("seLinuxOptions"):
        yield "procMount or seLinuxOptions"
    if any("hostPort" in port for port in container.get("ports", [])):
        yield "hostPort"


def hardened(rendering):
    """Beyond the standard: nothing can be written into the image, and the resources of the container are limited."""
    for workload, _, spec in rendering.pods():
        for container in containers(spec):
            where = f"{workload['metadata']['name']}, {container['name']}"
            if container.get("securityContext", {}).get("readOnlyRootFilesystem") is not True:
                yield f"{where}: the root file system can be written"
            resources = container.get("resources", {})
            if not {"cpu", "memory"} <= set(resources.get("requests", {})):
                yield f"{where}: no requests of CPU and memory"
            if "memory" not in resources.get("limits", {}):
                yield f"{where}: no limit of memory"
            if container["name"] == SIDECAR and "cpu" in resources.get("limits", {}):
                yield f"{where}: a CPU limit would throttle every command"


def images(rendering, version):
    """A tag that is not moved, or a digest; respgate's own tag is the version of this repository."""
    for workload, _, spec in rendering.pods():
        for container in containers(spec):
            name, _, digest = container["image"].partition("@")
            tag = name.rpartition(":")[2] if ":" in name.rpartition("/")[2] else ""
            if not digest and tag in ("", "latest"):
                yield f"{workload['metadata']['name']}: image {container['image']} has no fixed tag"
            if is_ours(container) and tag and tag != version:
                yield f"{workload['metadata']['name']}: image {container['image']} is not version {version}"


def verbs(rendering, respgate):
    """The program has the verb and the flags of each container of its image."""
    for workload, _, spec in rendering.pods():
        for container in containers(spec):
            if not is_ours(container):
                continue
            verb, *words = container["args"]
            done = subprocess.run([respgate, verb, "--help"], capture_output=True, text=True, check=False)
            flags = {word for word in words if word.startswith("--")}
            unknown = [flag for flag in flags if flag not in done.stdout]
            if done.returncode != 0 or unknown:
                yield f"{workload['metadata']['name']}: respgate {verb} {' '.join(unknown)}"


def native(rendering):
    """A native sidecar starts first and has no preStop; in a Job nothing else is possible."""
    for workload, _, spec, container in sidecars(rendering):
        where = f"{workload['kind']} {workload['metadata']['name']}"
        if "lifecycle" in container:
            yield f"{where}: preStop or postStart in the sidecar"
        if container in spec.get("initContainers", []):
            if container.get("restartPolicy") != "Always":
                yield f"{where}: an init container without restartPolicy Always never lets the application start"
            if spec["initContainers"][0] is not container:
                yield f"{where}: init containers before the sidecar cannot use Redis"
        elif workload["kind"] in ("Job", "CronJob"):
            yield f"{where}: the sidecar keeps the Job from completing"


def mounts(rendering):
    """Every mount has a volume, every account exists; no subPath, which would never show a new certificate; secrets for the sidecar alone."""
    for workload, _, spec in rendering.pods():
        where = workload["metadata"]["name"]
        volumes = {each["name"] for each in spec.get("volumes", [])}
        accounts = {each["metadata"]["name"] for each in rendering.of("ServiceAccount")}
        if spec.get("serviceAccountName", "default") not in accounts | {"default"}:
            yield f"{where}: no service account {spec['serviceAccountName']}"
        claims = workload["spec"].get("volumeClaimTemplates", [])
        volumes |= {each["metadata"]["name"] for each in claims}
        for container in containers(spec):
            for mount in container.get("volumeMounts", []):
                if mount["name"] not in volumes:
                    yield f"{where}: no volume {mount['name']}"
                if {"subPath", "subPathExpr"} & set(mount):
                    yield f"{where}: subPath of {mount['name']}"
                secret = mount["name"] in ("respgate-tls", "respgate-auth", "respgate-admin")
                if secret and not is_ours(container):
                    yield f"{where}: {container['name']} can read {mount['name']}"


def environment(rendering):
    """A secret in the environment of the sidecar would never change, and be seen by every child and dump."""
    for workload, _, _, container in sidecars(rendering):
        if container.get("envFrom") or any(
            "secretKeyRef" in each.get("valueFrom", {}) for each in container.get("env", [])
        ):
            yield f"{workload['metadata']['name']}: the sidecar has a secret in its environment"


def probes(rendering):
    """All three probes ask the right path on the port of telemetry; names of ports are at most 15 characters."""
    for workload, _, _, container in sidecars(rendering):
        where = workload["metadata"]["name"]
        ports = {each["name"]: each["containerPort"] for each in container.get("ports", [])}
        if ports != {"respgate-http": 9465}:
            yield f"{where}: ports {ports}"
        for probe, path in PROBES.items():
            get = container.get(probe, {}).get("httpGet", {})
            if get.get("path") != path or ports.get(get.get("port"), get.get("port")) != 9465:
                yield f"{where}: {probe} requests {get}"
    for workload, _, spec in rendering.pods():
        names = [port["name"] for each in containers(spec) for port in each.get("ports", [])]
        if any(len(name) > 15 for name in names) or len(set(names)) != len(names):
            yield f"{workload['metadata']['name']}: names of ports {names}"
