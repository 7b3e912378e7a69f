"""The table of a run, for people and for README.md."""

import pathlib

README = pathlib.Path(__file__).resolve().parents[2] / "README.md"
BEGIN, END = "<!-- faults: written by tests/faults/run.sh --all --write -->\n", "<!-- end of faults -->\n"


def seconds(milliseconds):
    return "never" if milliseconds is None else f"{milliseconds / 1000:.1f} s"


def cell(results):
    """Of several results of one fault the sums and the longest times."""
    total = lambda key: sum(len(r[key]) if isinstance(r[key], list) else r[key] for r in results)
    longest = lambda key: None if any(r[key] is None for r in results) else max(r[key] for r in results)
    words = [str(total("errors"))]
    words += [f"**{total(key)} {key}**" for key in ("wrong", "lost", "late") if total(key)]
    words += [f"{total('doubled')} doubled"] if total("doubled") else []
    words += ["**its process ended**"] if any(r["ended"] for r in results) else []
    return ", ".join(words) + f" ({seconds(longest('session'))}, {seconds(longest('applications'))})"


class Table:
    def __init__(self, options):
        self.ways, self.cells, self.weights, self.cycles = options.ways, {}, {}, {}

    def add(self, name, cells):
        for way, result in cells.items():
            self.cells.setdefault(name, {}).setdefault(way, []).append(result)
            for error in result["wrong"][:3]:
                print(f"  {name}: {way}: wrong: {error}")
        row = " | ".join(f"{way} {cell([result])}" for way, result in cells.items())
        print(f"ok   {name}: {row}", flush=True)

    def weigh(self, way, before, after):
        self.weights.setdefault(way, []).append((before, after))

    def rows(self):
        yield "| | " + " | ".join(self.ways) + " |"
        yield "|---" * (len(self.ways) + 1) + "|"
        for name, results in self.cells.items():
            yield f"| {name} | " + " | ".join(cell(results[way]) if way in results else "not tried" for way in self.ways) + " |"
        if self.weights:
            weigh = lambda way: "; ".join(f"{b['MiB']:.0f} → {a['MiB']:.0f} MiB, {b['files']} → {a['files']} descriptors"
                                          for b, a in self.weights.get(way, [])[:1])
            yield "| the process, before → after | " + " | ".join(weigh(way) for way in self.ways) + " |"

    def text(self):
        counts = "".join(f"{name}: {count} cycles\n" for name, count in self.cycles.items())
        return "\n".join(self.rows()) + "\n" + counts


def write_readme(table):
    text = README.read_text()
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    README.write_text(before + BEGIN + "\n".join(table.rows()) + "\n" + END + after)
