"""Counts the stages of a check as tests/run.sh reads them: a line for each, `N passed, N failed` at the end."""


class Skipped(Exception):
    """This machine cannot do the check; the text gives the reason."""


class Stages:
    def __init__(self):
        self.passed = self.failed = 0

    def stage(self, name, complaints):
        """Passes when there is no complaint. `complaints` may be a generator that raises `Skipped`."""
        try:
            complaints = list(complaints)
        except Skipped as reason:
            print(f"skipped: {name}: {reason}")
            return
        for each in complaints:
            print(f"FAIL {name}: {each}")
        self.passed, self.failed = self.passed + (not complaints), self.failed + bool(complaints)
        if not complaints:
            print(f"ok   {name}")

    def end(self):
        """Prints the sum and exits: 1 when a stage has failed."""
        print(f"{self.passed} passed, {self.failed} failed")
        raise SystemExit(self.failed > 0)
