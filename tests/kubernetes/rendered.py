"""What deploy/kubernetes and deploy/helm render to, as lists of objects."""

import dataclasses
import pathlib
import shutil
import subprocess

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
KUSTOMIZE = ROOT / "deploy/kubernetes"
HELM = ROOT / "deploy/helm"
RELEASE, NAMESPACE = "app1", "app1"

# Arguments of Helm, and the example of kustomize that they must equal; all have a PodMonitor and a PrometheusRule.
MONITOR = ["--set", "respgate.podMonitor.create=true,respgate.prometheusRule.create=true"]
VARIANTS = {
    "native": ([], "deployment"),
    "legacy": (["--set", "respgate.mode=legacy"], "legacy"),
    "unix-socket": (["--set", "respgate.socket.enabled=true"], "unix-socket"),
    "csi": (["--set", "respgate.identity.source=csi"], "csi-driver"),
    "projected": (["--set", "respgate.identity.source=projected"], "projected"),
    "vault": (["--set", "respgate.identity.source=vault"], "vault-agent"),
    "secret of another tool": (["--set", "respgate.certificate.create=false"], "external-secrets"),
}


@dataclasses.dataclass
class Rendering:
    """The objects of one directory, or of one set of values."""

    name: str
    objects: list

    def of(self, *kinds):
        return [each for each in self.objects if each["kind"] in kinds]

    def pods(self):
        """Each workload with the metadata and the specification of its pods."""
        for workload in self.of("Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob", "Pod"):
            spec = workload["spec"]
            if workload["kind"] == "CronJob":
                spec = spec["jobTemplate"]["spec"]
            template = workload if workload["kind"] == "Pod" else spec["template"]
            yield workload, template.get("metadata", {}), template["spec"]


def run(*words, **options):
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, **options)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, words))}: {done.stderr.strip()}")
    return done.stdout


def objects(text):
    return [each for each in yaml.safe_load_all(text) if each]


def kustomizations():
    """Every directory that can be rendered by itself; a component cannot."""
    for file in sorted(KUSTOMIZE.rglob("kustomization.yaml")):
        if yaml.safe_load(file.read_text())["kind"] == "Kustomization":
            yield file.parent


def kustomize(kubectl, directory):
    name = f"kustomize {directory.relative_to(KUSTOMIZE)}"
    return Rendering(name, objects(run(kubectl, "kustomize", directory)))


def chart(helm, work):
    """A copy of the charts with the library in its place; lint must find nothing."""
    shutil.copytree(HELM, work / "helm", dirs_exist_ok=True)
    example = work / "helm/example"
    # Without a network: the only repository is the directory beside it.
    run(helm, "dependency", "build", example, "--skip-refresh")
    run(helm, "lint", "--strict", example)
    return example


def template(helm, example, arguments):
    return run(helm, "template", RELEASE, example, "--namespace", NAMESPACE, *arguments)


def everything(kubectl, helm, work):
    """All renderings: kustomize, and Helm by variant."""
    all_of_them = [kustomize(kubectl, directory) for directory in kustomizations()]
    example = chart(helm, work)
    for name, (arguments, _) in VARIANTS.items():
        text = template(helm, example, MONITOR + arguments)
        all_of_them.append(Rendering(f"helm {name}", objects(text)))
    return all_of_them
