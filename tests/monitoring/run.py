"""Checks rules, runbooks, dashboards and the documents about them.

    run.py --respgate PROGRAM

The last line is `N passed, N failed`.
"""

import argparse
import pathlib
import sys

import dashboards
import documents
import rules

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tools"))
from stages import Stages  # noqa: E402

def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--respgate", required=True)
    options = arguments.parse_args()
    program = str(pathlib.Path(options.respgate).resolve())
    stages = [
        ("promtool accepts the rules and the tests of the alerts", rules.promtool()),
        ("each alert has a test in which it fires, and one in which it does not", rules.tested()),
        ("metrics and labels of the rules are those of the program", rules.selectors()),
        ("the PrometheusRules of Kubernetes and Helm have the same rules", rules.equal()),
        ("each alert has a runbook, and each runbook an alert", documents.runbooks()),
        ("each command in the documents exists", documents.commands(program)),
        ("each configuration in the documents is good", documents.configurations(program)),
        ("each link in the documents leads to a section that exists", documents.links()),
        ("each setting in the documents exists", documents.settings()),
        ("each check and each metric in the documents exists", documents.evidence()),
        ("the dashboards are what their generator writes", dashboards.generated()),
        ("each expression of dashboards and rules has values of a respgate under load", dashboards.answered(program)),
    ]
    counted = Stages()
    for name, complaints in stages:
        counted.stage(name, complaints)
    counted.end()


if __name__ == "__main__":
    main()
