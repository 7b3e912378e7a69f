"""For each own check a manifest that it must refuse: a good one with one change."""

import copy

import pods
import world
from rendered import Rendering


def sidecar(rendering):
    return next(pods.sidecars(rendering))[3]


def pod(rendering):
    return next(pods.sidecars(rendering))[2]


def application(rendering):
    return next(each for each in pod(rendering)["containers"] if each["name"] == "app")


def volume(rendering, name):
    return next(each for each in pod(rendering)["volumes"] if each["name"] == name)


def config(rendering, old, new):
    data = next(each for each in rendering.of("ConfigMap") if "respgate.toml" in each["data"])["data"]
    assert old in data["respgate.toml"]
    data["respgate.toml"] = data["respgate.toml"].replace(old, new)


def mount(container, name):
    return next(each for each in container["volumeMounts"] if each["name"] == name)


def context(container):
    return container["securityContext"]


# Name of the check, rendering to begin with, the change.
MUTANTS = [
    ("restricted", "deployment", lambda r: context(sidecar(r)).update(privileged=True)),
    ("restricted", "deployment", lambda r: context(sidecar(r)).pop("allowPrivilegeEscalation")),
    ("restricted", "deployment", lambda r: context(sidecar(r)).update(runAsNonRoot=False)),
    ("restricted", "deployment", lambda r: context(sidecar(r)).update(runAsUser=0)),
    ("restricted", "deployment", lambda r: context(sidecar(r)).pop("seccompProfile")),
    ("restricted", "deployment", lambda r: context(sidecar(r)).pop("capabilities")),
    ("restricted", "deployment", lambda r: context(sidecar(r))["capabilities"].update(add=["NET_RAW"])),
    ("restricted", "deployment", lambda r: context(sidecar(r)).update(procMount="Unmasked")),
    ("restricted", "deployment", lambda r: sidecar(r)["ports"][0].update(hostPort=9465)),
    ("restricted", "deployment", lambda r: pod(r).update(hostNetwork=True)),
    ("restricted", "deployment", lambda r: volume(r, "respgate-admin").update(hostPath={"path": "/"})),
    ("restricted", "deployment", lambda r: pod(r).update(securityContext={"sysctls": [{"name": "a"}]})),
    ("hardened", "deployment", lambda r: context(sidecar(r)).pop("readOnlyRootFilesystem")),
    ("hardened", "deployment", lambda r: sidecar(r)["resources"].pop("requests")),
    ("hardened", "deployment", lambda r: sidecar(r)["resources"].pop("limits")),
    ("hardened", "deployment", lambda r: sidecar(r)["resources"]["limits"].update(cpu="1")),
    ("images", "deployment", lambda r: application(r).update(image="app")),
    ("images", "deployment", lambda r: application(r).update(image="registry:5000/app:latest")),
    ("images", "deployment", lambda r: sidecar(r).update(image="registry.example.com/respgate:0.0.9")),
    ("verbs", "deployment", lambda r: sidecar(r).update(args=["serve"])),
    ("verbs", "deployment", lambda r: sidecar(r)["args"].append("--observe")),
    ("native", "deployment", lambda r: sidecar(r).update(lifecycle={"preStop": {"sleep": {"seconds": 5}}})),
    ("native", "deployment", lambda r: sidecar(r).pop("restartPolicy")),
    ("native", "statefulset", lambda r: pod(r)["initContainers"].reverse()),
    ("native", "job", lambda r: pod(r)["containers"].append(pod(r)["initContainers"].pop())),
    ("mounts", "deployment", lambda r: mount(sidecar(r), "respgate-tls").update(subPath="tls.crt")),
    ("mounts", "deployment", lambda r: mount(sidecar(r), "respgate-tls").update(name="tls")),
    ("mounts", "deployment", lambda r: application(r).update(volumeMounts=[mount(sidecar(r), "respgate-auth")])),
    ("mounts", "vault-agent", lambda r: pod(r).update(serviceAccountName="other")),
    ("environment", "deployment", lambda r: sidecar(r).update(
        env=[{"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "a", "key": "b"}}}])),
    ("probes", "deployment", lambda r: sidecar(r).pop("startupProbe")),
    ("probes", "deployment", lambda r: sidecar(r)["readinessProbe"]["httpGet"].update(port=6379)),
    ("probes", "deployment", lambda r: sidecar(r)["livenessProbe"]["httpGet"].update(path="/readyz")),
    ("probes", "deployment", lambda r: sidecar(r)["ports"][0].update(name="respgate-metrics")),
    ("accepted", "deployment", lambda r: config(r, "preset =", "presett =")),
    ("accepted", "legacy", lambda r: sidecar(r)["env"][0].update(name="RESPGATE__DRAIN__MINIMUM")),
    ("accepted", "deployment", lambda r: volume(r, "respgate-config")["configMap"].update(name="other")),
    ("files", "deployment", lambda r: config(r, "/var/run/respgate/tls/tls.key", "/etc/tls.key")),
    ("files", "deployment", lambda r: config(r, "0.0.0.0:9465", "127.0.0.1:9465")),
    ("files", "projected", lambda r: volume(r, "respgate-tls")["projected"]["sources"][1]["configMap"]["items"][0]
        .update(path="bundle.crt")),
    ("files", "vault-agent", lambda r: next(r.pods())[1]["annotations"].pop("vault.hashicorp.com/secret-volume-path")),
    ("limits", "deployment", lambda r: config(r, "32MiB", "64MiB")),
    ("limits", "deployment", lambda r: pod(r).update(terminationGracePeriodSeconds=20)),
    ("socket", "unix-socket", lambda r: context(application(r)).update(runAsUser=10002)),
    ("socket", "unix-socket", lambda r: application(r).pop("volumeMounts")),
    ("certificates", "deployment", lambda r: r.of("Certificate")[0]["spec"].update(secretName="other")),
    ("certificates", "deployment", lambda r: r.of("Certificate")[0]["spec"].update(usages=["server auth"])),
    ("certificates", "deployment", lambda r: r.of("Certificate")[0]["spec"].update(commonName="app2")),
    ("certificates", "external-secrets", lambda r: r.of("ExternalSecret")[1]["spec"]["target"].update(name="other")),
    ("selected", "deployment", lambda r: r.of("PodMonitor")[0]["spec"]["podMetricsEndpoints"][0].update(port="http")),
    ("selected", "deployment", lambda r: r.of("NetworkPolicy")[0]["spec"].update(
        podSelector={"matchLabels": {"app": "other"}})),
    ("selected", "deployment", lambda r: r.of("NetworkPolicy")[0]["spec"]["egress"].append({})),
    ("selected", "deployment", lambda r: r.of("NetworkPolicy")[0]["spec"]["egress"][0]["to"][0]["namespaceSelector"]
        ["matchLabels"].update({"kubernetes.io/metadata.name": "rediss"})),
    ("selected", "redis", lambda r: r.of("NetworkPolicy")[0]["spec"]["ingress"][0]["ports"][0].update(port=6379)),
    ("selected", "redis", lambda r: r.of("NetworkPolicy")[0]["spec"]["ingress"][0].pop("from")),
    ("labelled", "deployment", lambda r: next(r.pods())[1]["labels"].pop("respgate.dev/injected")),
    ("standard", "deployment", lambda r: r.of("Namespace")[0]["metadata"].pop("labels")),
]


def checks(respgate, version, namespaces):
    """All checks by name, each a function of a rendering."""
    plain = [pods.restricted, pods.hardened, pods.native, pods.mounts, pods.environment, pods.probes]
    plain += [world.files, world.limits, world.socket, world.certificates, world.labelled, world.standard]
    found = {each.__name__: each for each in plain}
    found["images"] = lambda rendering: pods.images(rendering, version)
    found["verbs"] = lambda rendering: pods.verbs(rendering, respgate)
    found["accepted"] = lambda rendering: world.accepted(rendering, respgate)
    found["selected"] = lambda rendering: world.selected(rendering, namespaces)
    return found


def survivors(by_name, renderings):
    """Changes that no check has noticed, and checks without a change."""
    untouched = set(by_name) - {name for name, _, _ in MUTANTS}
    yield from (f"no manifest shows what {name} refuses" for name in sorted(untouched))
    for number, (name, origin, change) in enumerate(MUTANTS):
        source = next(each for each in renderings if each.name.endswith(f"/{origin}") or each.name == f"kustomize {origin}")
        mutant = Rendering(source.name, copy.deepcopy(source.objects))
        change(mutant)
        if not list(by_name[name](mutant)):
            yield f"{name} permits change {number} of {source.name}"
