#!/usr/bin/env python3
"""Writes what the program is made of, as CycloneDX 1.6 in JSON.

    deploy/release/sbom.py [TARGET] > respgate.cdx.json

TARGET is a triple of Rust, else that of this machine. What only builds (build scripts, macros) has the scope
`excluded`; what only tests is left out. The same sources give the same bytes: the time is SOURCE_DATE_EPOCH, else none.
"""

import datetime
import json
import os
import pathlib
import re
import subprocess
import sys
import uuid

ROOT = pathlib.Path(__file__).resolve().parents[2]
# C that a crate brings along and compiles: what the advisories of its own project are about.
BUNDLED = {"aws-lc-sys": ("aws-lc", "pkg:github/aws/aws-lc"), "tikv-jemalloc-sys": ("jemalloc", "pkg:github/jemalloc/jemalloc")}


def output(*words):
    return subprocess.run(words, cwd=ROOT, check=True, capture_output=True, text=True).stdout


def checksums():
    text = (ROOT / "Cargo.lock").read_text()
    found = re.findall(r'name = "(.+)"\nversion = "(.+)"\nsource = .*\nchecksum = "(.+)"', text)
    return {(name, version): checksum for name, version, checksum in found}


def tree(target, edges):
    """Name and version of what cargo compiles over these edges; `cargo metadata` also names features that are off."""
    lines = output("cargo", "tree", "--locked", "--target", target, "--edges", edges, "--prefix", "none", "--format", "{p}")
    return {(name, version[1:]) for name, version, *_ in map(str.split, lines.splitlines())}


def purl(package):
    return f"pkg:cargo/{package['name']}@{package['version']}"


def component(package, kind, sums, builds):
    entry = {"type": kind, "bom-ref": purl(package), "name": package["name"], "version": package["version"], "purl": purl(package)}
    if package["license"]:
        entry["licenses"] = [{"expression": " ".join(package["license"].replace("/", " OR ").split())}]
    if package["description"]:
        entry["description"] = " ".join(package["description"].split())
    if checksum := sums.get((package["name"], package["version"])):
        entry["hashes"] = [{"alg": "SHA-256", "content": checksum}]
    if package["repository"]:
        entry["externalReferences"] = [{"type": "vcs", "url": package["repository"]}]
    if builds:
        entry["scope"] = "excluded"
    if package["name"] in BUNDLED:
        name, reference = BUNDLED[package["name"]]
        entry["components"] = [{"type": "library", "bom-ref": f"{purl(package)}#{name}", "name": name, "purl": reference}]
    return entry


def main():
    target = sys.argv[1] if len(sys.argv) > 1 else re.search(r"host: (.+)", output("rustc", "--version", "--verbose")).group(1)
    metadata = json.loads(output("cargo", "metadata", "--locked", "--format-version", "1", "--filter-platform", target))
    held, everything = tree(target, "normal,no-proc-macro"), tree(target, "normal,build")
    packages = {each["id"]: each for each in metadata["packages"] if (each["name"], each["version"]) in everything}
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"] if node["id"] in packages}
    root = metadata["resolve"]["root"]
    sums = checksums()
    ordered = sorted(packages, key=lambda ident: purl(packages[ident]))

    def builds(package):
        return (package["name"], package["version"]) not in held

    bom = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "component": component(packages[root], "application", sums, False),
            "properties": [{"name": "cdx:rust:target", "value": target}],
        },
        "components": [component(packages[ident], "library", sums, builds(packages[ident])) for ident in ordered if ident != root],
        "dependencies": [
            {
                "ref": purl(packages[ident]),
                "dependsOn": sorted({purl(packages[each["pkg"]]) for each in nodes[ident]["deps"] if each["pkg"] in packages}),
            }
            for ident in ordered
        ],
    }
    if epoch := os.environ.get("SOURCE_DATE_EPOCH"):
        bom["metadata"]["timestamp"] = datetime.datetime.fromtimestamp(int(epoch), datetime.timezone.utc).isoformat()
    bom["serialNumber"] = f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, json.dumps(bom, sort_keys=True))}"
    json.dump(bom, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()
