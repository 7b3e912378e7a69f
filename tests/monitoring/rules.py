"""Rules: promtool's view, a pair of tests for each alert, and the copy for Kubernetes."""

import pathlib
import re
import subprocess
import textwrap

ROOT = pathlib.Path(__file__).resolve().parents[2]
FOLDER = ROOT / "deploy/prometheus"
KUBERNETES = ROOT / "deploy/kubernetes/components/monitoring/prometheus-rule.yaml"
HELM = ROOT / "deploy/helm/respgate/templates/_rules.tpl"


def alerts():
    return re.findall(r"- alert: (\w+)", (FOLDER / "rules.yaml").read_text())


def promtool():
    for words in (["check", "rules", "rules.yaml"], ["test", "rules", "rules_test.yaml"]):
        done = subprocess.run(["promtool", *words], cwd=FOLDER, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            yield done.stdout + done.stderr


def tested():
    """promtool passes over an alert without a test, and over a test that expects nothing of another name."""
    tests = re.split(r"^  - name: ", (FOLDER / "rules_test.yaml").read_text(), flags=re.M)[1:]
    found = {}
    for test in tests:
        name = test.partition("\n")[0]
        alert = name.split()[0]
        expected = "[{value: 1}]" if name.endswith(" fires") else "[]"
        if f'alertname="{alert}",alertstate="firing"' not in test or f"exp_samples: {expected}\n" not in test + "\n":
            yield f"{name}: the test expects something else"
        found.setdefault(alert, set()).add(name.partition(" ")[2])
    for alert in alerts():
        if found.get(alert) != {"fires", "does not fire"}:
            yield f"{alert}: tests {found.get(alert)}"


def copies():
    """The files that hold the groups once more, with the text that they must have."""
    groups = (FOLDER / "rules.yaml").read_text().partition("\ngroups:\n")[2]
    indented = "".join("  " + line if line.strip() else line for line in groups.splitlines(keepends=True))
    head = KUBERNETES.read_text().partition("\n  groups:\n")[0]
    # A raw string of Go's templates, so that they do not look into the annotations.
    assert "`" not in groups, "a back quote ends the raw string of the Helm template"
    text = "{{/* The groups of deploy/prometheus/rules.yaml, which tests/monitoring/rules.py writes here. */}}\n"
    text += '{{- define "respgate.rules" -}}\n{{ `' + textwrap.dedent(groups).rstrip("\n") + "` }}\n{{- end }}\n"
    return {KUBERNETES: f"{head}\n  groups:\n{indented}", HELM: text}


def equal():
    for path, text in copies().items():
        if not path.exists() or path.read_text() != text:
            yield f"{path.name} differs from rules.yaml: run tests/monitoring/rules.py"


def metrics():
    """The names of the program's metrics, without the prefix."""
    text = (ROOT / "src/telemetry/metrics.rs").read_text()
    return set(re.findall(r"^ +(?:process|writer) (\w+): ", text, re.M))


def selectors():
    """Metrics and values of labels in the rules are those of the program; commands are left to the live test."""
    catalogue = metrics()
    values = "".join((ROOT / "src" / file).read_text() for file in ("telemetry/label.rs", "base/rule.rs"))
    expressions = re.findall(r"expr: '(.*)'$", (FOLDER / "rules.yaml").read_text(), re.M)
    for expression in expressions:
        for metric in re.findall(r"(?<![\w:])respgate_(\w+?)(?:_bucket)?(?!\w)", expression):
            if metric not in catalogue:
                yield f"no metric respgate_{metric}: {expression}"
        own = re.sub(r"(?<!\w)(container|kube)_\w+\{[^}]*\}", "", expression)
        for label, texts in re.findall(r'(\w+)(?:=~|!=|=)"([^"]+)"', own):
            for text in texts.split("|") if label != "command" else []:
                # The empty text is the label's absence: the lean profile sums over some.
                if text and not re.search(f'=>? "{re.escape(text)}"', values):
                    yield f'no label {label}="{text}": {expression}'
    if len(expressions) < 30:
        yield f"only {len(expressions)} expressions were found"


if __name__ == "__main__":
    for file, content in copies().items():
        file.write_text(content)
