"""Renders deploy/kubernetes and deploy/helm, and checks what came out.

    tests/kubernetes/run.py --respgate PROGRAM --kubectl PROGRAM --helm PROGRAM --node NODE_MODULES

Against Kubernetes's own schemas of several versions, against models of the custom resources, and by checks of
our own, each of which is shown a manifest that it must refuse. The last line is `N passed, N failed`.
"""

import argparse
import json
import pathlib
import re
import subprocess
import sys
import tempfile

import kubernetes_validate

import compare
import documents
import mutants
import rendered

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tools"))
from stages import Stages  # noqa: E402

HERE = pathlib.Path(__file__).resolve().parent
# The oldest with native sidecars, one between, the newest.
VERSIONS = ("1.29", "1.33", "1.37")
# The legacy variant is for clusters before; admission policies exist later.
OLDER, SINCE = {"legacy": ("1.25", "1.27")}, {"injection": ("1.36", "1.37")}
CUSTOM = re.compile(r"cert-manager\.io/|external-secrets\.io/|monitoring\.coreos\.com/")


def versions(name):
    for table in (OLDER, SINCE):
        for word, found in table.items():
            if word in name:
                return found + (VERSIONS if table is OLDER else ())
    return VERSIONS


def strict(renderings):
    """Every object against the schema of its kind, without unknown fields."""
    for rendering in renderings:
        for each in rendering.objects:
            if CUSTOM.match(each["apiVersion"]):
                continue
            for version in versions(rendering.name):
                try:
                    kubernetes_validate.validate(each, version, strict=True)
                except Exception as error:  # noqa: BLE001: any exception names what is wrong
                    text = str(error).splitlines()[0]
                    yield f"{rendering.name}, {each['kind']} {each['metadata']['name']}, {version}: {text}"


def models(renderings, node_modules):
    """Every custom resource against its model."""
    custom = [each for rendering in renderings for each in rendering.objects if CUSTOM.match(each["apiVersion"])]
    done = subprocess.run(
        ["node", HERE / "models.mjs", node_modules], input=json.dumps(custom), capture_output=True, text=True, check=False
    )
    yield from done.stdout.splitlines()
    if done.returncode != 0 or not custom:
        yield f"models.mjs: {done.stderr}"


def refused(renderings, node_modules):
    """Both validators see a misspelled field and a wrong type."""
    deployment = next(each for each in renderings if each.name.endswith("/deployment"))
    for word in ("replicaz: 2", "replicas: two"):
        key, _, value = word.partition(": ")
        for kind, validate in (("Deployment", strict), ("PodMonitor", lambda some: models(some, node_modules))):
            changed = json.loads(json.dumps(deployment.of(kind)[0]))
            changed["spec"][key if kind == "Deployment" else {"replicaz": "selektor", "replicas": "selector"}[key]] = value
            if not list(validate([rendered.Rendering("mutant", [changed])])):
                yield f"{kind} with {word} is permitted"


def main():
    arguments = argparse.ArgumentParser()
    for name in ("respgate", "kubectl", "helm", "node"):
        arguments.add_argument(f"--{name}", required=True)
    options = arguments.parse_args()
    version = re.search(r'^version = "(.+)"', (rendered.ROOT / "Cargo.toml").read_text(), re.M).group(1)
    counted = Stages()
    stage = counted.stage

    with tempfile.TemporaryDirectory() as work:
        work = pathlib.Path(work)
        renderings = rendered.everything(options.kubectl, options.helm, work)
        example = work / "helm/example"
        stage("every object fits the schemas of Kubernetes", strict(renderings))
        stage("every custom resource fits its model", models(renderings, options.node))
        stage("the validators refuse what is misspelled", refused(renderings, options.node))
        namespaces = {each["metadata"]["name"] for r in renderings for each in r.of("Namespace")} | {"kube-system"}
        checks = mutants.checks(options.respgate, version, namespaces)
        for name, check in checks.items():
            stage(f"own check: {name}", (f"{r.name}: {wrong}" for r in renderings for wrong in check(r)))
        stage("each own check refuses its mutants", mutants.survivors(checks, renderings))
        stage("Helm renders what kustomize renders", compare.charts(renderings))
        stage("a CronJob gets the same sidecar", compare.shapes())
        stage("the admission policy makes the same pod", compare.injected())
        stage("users.acl is the output of respgate acl", compare.users(options.respgate))
        stage("the image fits the manifests", compare.image())
        stage("values.schema.json refuses wrong values", compare.schema(options.helm, example))
        stage("Helm refuses a native sidecar before Kubernetes 1.29", compare.older(options.helm, example))
        stage("NOTES list what to check", compare.notes(options.helm, example))
    programs = (options.respgate, options.kubectl, options.helm)
    stage("commands, keys and manifests of the documents exist", documents.check(*programs))
    stage("what does not exist is refused in documents", documents.refuses(*programs))
    counted.end()


if __name__ == "__main__":
    main()
