"""Runbooks and guides: sections, commands, links and settings that exist."""

import functools
import re
import subprocess
import tempfile

import rules

DOCS = rules.ROOT / "deploy/docs"
# Those about Kubernetes and Vault, which name more programs, are checked by tests/kubernetes; the others are written by tests.
ELSEWHERE = {"kubernetes.md", "vault.md", "codes.md", "metrics.md", "troubleshooting.md", "security-test.md"}
OURS = sorted(path.name for path in DOCS.glob("*.md") if path.name not in ELSEWHERE)
COMMAND = re.compile(r"(?<![\w/.-])(?<!-u )respgate ((?:[a-z][a-z-]*)(?: [^`\n|]*)?)")


def texts():
    return {name: (DOCS / name).read_text() for name in OURS}


def anchors(text):
    headings = re.findall(r"^#+ (.+)$", text, re.M)
    return {re.sub(r"[^\w -]", "", each.lower()).replace(" ", "-") for each in headings}


def runbooks():
    sections = re.split(r"^## ", (DOCS / "runbooks.md").read_text(), flags=re.M)[1:]
    titles = [each.partition("\n")[0] for each in sections]
    if titles != rules.alerts():
        yield f"sections and alerts differ: {set(titles) ^ set(rules.alerts())} (or their order)"
    for title, section in zip(titles, sections):
        for word in ("Detect", "Respond", "Recover"):
            if f"- **{word}**: " not in section:
                yield f"{title}: no {word}"
    text = (rules.FOLDER / "rules.yaml").read_text()
    for alert in rules.alerts():
        if f"runbook_url: deploy/docs/runbooks.md#{alert.lower()}\n" not in text:
            yield f"{alert}: no runbook_url"


def snippets(text):
    """The text in backticks and in blocks of the shell."""
    blocks = re.findall(r"^```sh\n(.*?)^```", text, re.M | re.S)
    yield from (line for block in blocks for line in block.replace("\\\n", " ").splitlines())
    yield from re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S))


def arguments(words, text_of_help):
    """The words that are neither flags nor values of flags."""
    found, value = [], False
    for word in words:
        if word.startswith("-"):
            value = "=" not in word and re.search(rf"(?<![\w-]){re.escape(word)}(?:, --[a-z-]+)? <", text_of_help)
        elif not value:
            found.append(word)
        else:
            value = False
    return found


def commands(program):
    @functools.cache
    def usage(words):
        done = subprocess.run([program, *words, "--help"], capture_output=True, text=True, check=False)
        return done.stdout if done.returncode == 0 else None

    count = 0
    for name, text in texts().items():
        for snippet in snippets(text):
            if not (found := COMMAND.search(snippet)) or "respgate --help" in snippet:
                continue
            count += 1
            words = found.group(1).replace("[--", "--").replace("]", "").split()
            verbs = tuple(words[:1])
            text_of_help = usage(verbs)
            if text_of_help and re.search(r"^\w*ommands:", text_of_help, re.M) and re.fullmatch("[a-z][a-z-]+", (words + [""])[1]):
                verbs = tuple(words[:2])
                text_of_help = usage(verbs)
            if text_of_help is None:
                yield f"{name}: no verb {' '.join(verbs)}: {snippet}"
                continue
            needed = re.findall(r"(?<=\s)<[A-Z_]+>", re.sub(r"--[a-z-]+ <[A-Z_]+>", "", re.search(r"Usage: .*", text_of_help).group().partition("[OPTIONS]")[2]))
            # A verb that is only mentioned needs no arguments, nor one of which the optional flags are listed.
            if "[" not in snippet and len(words) > len(verbs) and len(arguments(words[len(verbs):], text_of_help)) < len(needed):
                yield f"{name}: {' '.join(verbs)} needs {' '.join(needed)}: {snippet}"
            for flag in (word.partition("=")[0] for word in words if word.startswith("--")):
                if not re.search(rf"(?<![\w-]){re.escape(flag)}(?![\w-])", text_of_help):
                    yield f"{name}: {' '.join(verbs)} has no {flag}: {snippet}"
    if count < 20:
        yield f"only {count} commands were found"


def configurations(program):
    """A whole configuration in a document is a good one."""
    count = 0
    for name, text in texts().items():
        for block in re.findall(r"^```toml\n(.*?)^```", text, re.M | re.S):
            if "[[listener]]" not in block or "[upstream]" not in block:
                continue
            count += 1
            with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
                file.write(block)
                file.flush()
                done = subprocess.run([program, "check", "--skip-files", "--config", file.name], capture_output=True, text=True, check=False)
            if done.returncode != 0 or "no problems" not in done.stdout:
                yield f"{name}: {done.stdout}{done.stderr}"
    if count < 4:
        yield f"only {count} configurations were found"


def links():
    for name, text in texts().items():
        for target in re.findall(r"\]\(([^)]+)\)", text):
            if "://" in target:
                continue
            file, _, section = target.partition("#")
            path = DOCS / file if file else DOCS / name
            if not path.exists():
                yield f"{name}: no file {target}"
            elif section and section not in anchors(path.read_text()):
                yield f"{name}: no section {target}"


def settings():
    """A setting in backticks, as limits.max_clients, is in the reference of the configuration."""
    reference = (rules.ROOT / "config/respgate.toml").read_text()
    tables = {line.strip("[]# ").split(".")[0] for line in re.findall(r"^#? ?\[.*\]$", reference, re.M)}
    if "upstream" not in tables:
        yield f"config/respgate.toml has other tables: {tables}"
    for name, text in texts().items():
        for snippet in re.findall(r"`([a-z_]+(?:\.[a-z_]+)+)(?: = [^`]*)?`", text):
            first, *rest = snippet.split(".")
            if first in tables and not all(re.search(rf"(?<!\w){re.escape(part)}(?!\w)", reference) for part in rest):
                yield f"{name}: no setting {snippet}"


def evidence():
    """Ids of checks and names of metrics are those of the program."""
    ids = set(re.findall(r"`([A-Z]+-\d\d)`", (DOCS / "security-test.md").read_text()))
    catalogue = rules.metrics()
    for name, text in texts().items():
        for each in set(re.findall(r"`([A-Z]+-\d\d)`", text)) - ids:
            yield f"{name}: no check {each}"
        for each in set(re.findall(r"`respgate_([a-z_]+)", text)):
            if each not in catalogue:
                yield f"{name}: no metric respgate_{each}"
