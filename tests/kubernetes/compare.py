"""What must be equal: Helm and kustomize, both shapes of a patch, the injected and the patched pod, users.acl."""

import copy
import difflib
import json
import subprocess
import tempfile
import tomllib

import yaml

import cel
import rendered
from rendered import KUSTOMIZE, VARIANTS, Rendering


def normal(value):
    """Without what has no meaning: order of volumes, mounts and keys; comments of a configuration."""
    if isinstance(value, dict):
        found = {key: normal(each) for key, each in sorted(value.items())}
        if "respgate.toml" in found:
            found["respgate.toml"] = tomllib.loads(value["respgate.toml"])
        for key in ("volumes", "volumeMounts"):
            if key in found:
                found[key] = sorted(found[key], key=lambda each: each["name"])
        return found
    if isinstance(value, list):
        return [normal(each) for each in value]
    return value


def difference(one, other):
    left, right = (json.dumps(normal(each), indent=1, sort_keys=True).splitlines() for each in (one, other))
    return [line for line in difflib.unified_diff(left, right, lineterm="", n=1)][2:]


def by_kind(rendering):
    """What Helm renders too, without what only kustomize adds: namespaces and the label that chooses workloads."""
    found = {}
    for each in rendering.of("ConfigMap", "Deployment", "Certificate", "PodMonitor", "PrometheusRule"):
        if each["metadata"]["name"] == "redis-ca-bundle":
            continue
        each = copy.deepcopy(each)
        each["metadata"].pop("namespace", None)
        each["metadata"].pop("labels", None)
        found[each["kind"]] = each
    return found


def charts(renderings):
    """Helm's rendering equals the example of kustomize in every variant."""
    named = {each.name: each for each in renderings}
    for variant, (_, example) in VARIANTS.items():
        ours, theirs = by_kind(named[f"helm {variant}"]), by_kind(named[f"kustomize examples/{example}"])
        for kind in sorted(set(ours) | set(theirs)):
            lines = difference(theirs.get(kind), ours.get(kind))
            if lines:
                yield f"helm {variant}, {kind}: " + "\n".join(lines[:20])


def shapes():
    """A component changes the pods of a CronJob as it changes all others."""
    for file in sorted(KUSTOMIZE.glob("components/*/cronjob.yaml")):
        cron = yaml.safe_load(file.read_text())["spec"]["jobTemplate"]["spec"]["template"]
        other = yaml.safe_load((file.parent / "pod.yaml").read_text())["spec"]["template"]
        if lines := difference(other, cron):
            yield f"{file.parent.name}: " + "\n".join(lines[:20])


def injected():
    """The pod that the MutatingAdmissionPolicy makes is the one that the component makes."""
    text = (KUSTOMIZE / "injection/mutating-admission-policy.yaml").read_text()
    policy = next(yaml.safe_load_all(text))["spec"]
    template = yaml.safe_load((KUSTOMIZE / "components/sidecar/pod.yaml").read_text())["spec"]["template"]
    for own in ({}, {"initContainers": [{"name": "migrate"}], "volumes": [{"name": "data"}]}):
        pod = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "app"}], **copy.deepcopy(own)}}
        expression = policy["mutations"][0]["jsonPatch"]["expression"]
        made = cel.patched(copy.deepcopy(pod), cel.Expression(expression, {"object": pod}).value())
        wanted = copy.deepcopy(pod)
        wanted["metadata"]["labels"] |= template["metadata"]["labels"]
        for key in ("initContainers", "volumes"):
            wanted["spec"][key] = template["spec"][key] + own.get(key, [])
        if lines := difference(wanted, made):
            yield "injection: " + "\n".join(lines[:20])


def users(respgate):
    """users.acl is what `respgate acl` prints for each configuration."""
    file = KUSTOMIZE / "redis/users.acl"
    configs = [KUSTOMIZE / "base/respgate.toml"]
    configs += [KUSTOMIZE / f"examples/two-applications/{name}/respgate.toml" for name in ("orders", "invoices")]
    wanted = ["user default off resetkeys resetchannels -@all", "user admin on ~* &* +@all"]
    for config in configs:
        text = rendered.run(respgate, "acl", "--config", config).strip()
        wanted.append(text.replace("ACL SETUSER", "user", 1))
    have = file.read_text().splitlines()
    if have != wanted:
        yield "users.acl: " + "\n".join(difflib.unified_diff(wanted, have, lineterm="", n=0))


def schema(helm, example):
    """values.schema.json refuses what is not a value, and misspelled keys."""
    wrong = [
        "respgate.mode=sidecar", "respgate.modus=native", "respgate.image.tag=latest", "respgate.image.digest=abc",
        "respgate.upstream.address=redis", "respgate.identity.source=file", "respgate.socket.uid=0",
        "respgate.memoryBudget=lots", "respgate.resources.limits.memory=much", "respgate.policy.preset=all",
    ]
    for each in wrong:
        done = subprocess.run(
            [helm, "template", "app1", example, "--set", each], capture_output=True, text=True, check=False
        )
        if done.returncode == 0 or "schema" not in done.stderr:
            yield f"values.schema.json permits {each}"


def older(helm, example):
    """A cluster without native sidecars is refused, with the remedy; the legacy mode is for it."""
    words = [helm, "template", "app1", example, "--kube-version", "1.28"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode == 0 or "set respgate.mode to legacy" not in done.stderr:
        yield f"Kubernetes 1.28 is accepted: {done.stderr}"
    rendered.run(*words, "--set", "respgate.mode=legacy")


def image():
    """The image runs as the manifests set, and is built with all that a build reads: .cargo has the allocator's settings."""
    lines = (rendered.ROOT / "Dockerfile").read_text().splitlines()
    final = dict(line.split(" ", 1) for line in lines[max(at for at, line in enumerate(lines) if line.startswith("FROM")):] if line)
    template = yaml.safe_load((KUSTOMIZE / "components/sidecar/pod.yaml").read_text())["spec"]["template"]
    (container,) = template["spec"]["initContainers"]
    context = container["securityContext"]
    if final["USER"] != f"{context['runAsUser']}:{context['runAsGroup']}":
        yield f"USER {final['USER']}"
    if json.loads(final["CMD"]) != container["args"] or json.loads(final["ENTRYPOINT"]) != ["/usr/local/bin/respgate"]:
        yield f"ENTRYPOINT {final['ENTRYPOINT']}, CMD {final['CMD']}"
    if final["EXPOSE"] != str(container["ports"][0]["containerPort"]):
        yield f"EXPOSE {final['EXPOSE']}"
    if final["STOPSIGNAL"] != "SIGTERM":
        yield f"STOPSIGNAL {final['STOPSIGNAL']}"
    taken = (rendered.ROOT / ".dockerignore").read_text().splitlines()
    for name in (".cargo", "Cargo.toml", "Cargo.lock", "LICENSE", "src", "benches", "deploy/release"):
        if f"!{name}" not in taken:
            yield f".dockerignore leaves out {name}"


def notes(helm, example):
    """NOTES name the workload and verbs that exist."""
    text = rendered.run(helm, "install", "app1", example, "--namespace", "app1", "--dry-run=client")
    text = text.partition("NOTES:")[2]
    if "deployment/app1" not in text or "check --connect" not in text:
        yield f"NOTES.txt: {text}"
