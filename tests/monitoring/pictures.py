"""Draws the dashboards as pictures: every panel with what a Prometheus knows of a respgate under load.

    pictures.py --respgate PROGRAM [--seconds 90] [FOLDER]

Needs chromium and pngquant, which tests/run.sh does not install. Grafana draws the same queries; colours and sizes are only like its own.
"""

import argparse
import html
import json
import math
import pathlib
import subprocess
import tempfile
import threading
import time
import contextlib
import socket

import dashboards
import rules

WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 540, 200, 62, 22, 34
COLOURS = ("#73bf69", "#f2cc0c", "#8ab8ff", "#ff780a", "#f2495c", "#5794f2", "#b877d9", "#37872d", "#fade2a", "#c4162a")
UNITS = {
    "s": ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"), (1e-3, "ms"), (1e-6, "µs")),
    "bytes": ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"), (1, "B")),
    "Bps": ((1e9, "GB/s"), (1e6, "MB/s"), (1e3, "kB/s"), (1, "B/s")),
    "cps": ((1e3, "k c/s"), (1, "c/s")), "short": ((1e6, "Mil"), (1e3, "K"), (1, "")), "percentunit": ((0.01, "%"),),
}


def formatted(value, unit):
    if value == 0:
        return "0"
    size, name = next((each for each in UNITS[unit] if abs(value) >= each[0]), UNITS[unit][-1])
    return f"{value / size:.3g} {name}".strip()


def legend(form, labels):
    for key, value in labels.items():
        form = form.replace("{{" + key + "}}", value)
    return form


def steps(low, high):
    """Round numbers between two."""
    if high <= low:
        high = low + 1
    size = 10 ** math.floor(math.log10((high - low) / 3))
    size = next(size * each for each in (1, 2, 5, 10) if (high - low) / (size * each) <= 4)
    at = math.ceil(low / size) * size
    while at <= high + size / 1e6:
        yield at
        at += size


def answers(world, spec, begin, end):
    """Names and points of all lines of a panel."""
    lines = []
    for target in spec["targets"]:
        expression = target["expr"].replace("$__rate_interval", "5s").replace("$job", ".*").replace("$instance", ".*")
        answer = json.loads(world.query("query_range", query=expression, start=begin, end=end, step="1"))
        for series in answer["data"]["result"]:
            points = [(float(at), float(value)) for at, value in series["values"] if value not in ("NaN", "+Inf")]
            if points:
                lines.append((legend(target["legendFormat"], series["metric"]), points))
    return lines


def frame(spec):
    return (f'<svg width="{WIDTH}" height="{HEIGHT}"><rect width="100%" height="100%" fill="#181b1f" stroke="#34383e"/>'
            f'<text x="10" y="20" class="title">{html.escape(spec["title"])}</text>')


def numbers(spec, lines):
    """The last value of each line, in the colour of its threshold."""
    defaults, out = spec["fieldConfig"]["defaults"], [frame(spec)]
    height = (HEIGHT - 40) / max(len(lines), 1)
    for row, (name, points) in enumerate(lines):
        value = points[-1][1]
        colour = [each["color"] for each in defaults["thresholds"]["steps"] if each["value"] is None or value >= each["value"]][-1]
        colour = {"text": "#ccccdc", "green": "#73bf69", "orange": "#ff9830", "red": "#f2495c"}[colour]
        at = 30 + height * (row + 0.5)
        out.append(f'<text x="20" y="{at + 4:.0f}">{html.escape(name[:44])}</text>'
                   f'<text x="{WIDTH - 20}" y="{at + 7:.0f}" text-anchor="end" style="font-size:{min(28, int(height * 0.8))}px;fill:{colour}">{formatted(value, defaults["unit"])}</text>')
    return "".join(out) + "</svg>"


def panel(world, spec, begin, end):
    lines = answers(world, spec, begin, end)
    if spec["type"] == "stat":
        return numbers(spec, lines)
    unit = spec["fieldConfig"]["defaults"]["unit"]
    # Lines that are nothing but zero show little and fill the legend.
    moving = [each for each in lines if any(value for _, value in each[1])] or lines[:1]
    values = [value for _, points in moving for _, value in points] or [0]
    low, high = min(0, *values, 0), max(values)
    high = high if high > low else low + 1
    x = lambda at: LEFT + (at - begin) / (end - begin) * (WIDTH - LEFT - 10)
    rows = min(len(moving), 6)
    bottom = HEIGHT - BOTTOM - 14 * math.ceil(rows / 2)
    y = lambda value: bottom - (value - low) / (high - low) * (bottom - TOP)
    out = [frame(spec)]
    for tick in steps(low, high):
        out.append(f'<line x1="{LEFT}" x2="{WIDTH - 10}" y1="{y(tick):.0f}" y2="{y(tick):.0f}" stroke="#2c3036"/>'
                   f'<text x="{LEFT - 6}" y="{y(tick) + 4:.0f}" text-anchor="end">{formatted(tick, unit)}</text>')
    for at in range(0, int(end - begin), 30):
        out.append(f'<text x="{x(begin + at):.0f}" y="{bottom + 14}" text-anchor="middle">{at} s</text>')
    for number, (name, points) in enumerate(moving):
        colour = COLOURS[number % len(COLOURS)]
        parts, before = [], None
        for at, value in points:
            parts.append(f"{'L' if before and at - before < 3 else 'M'}{x(at):.1f} {y(value):.1f}")
            before = at
        out.append(f'<path d="{"".join(parts)}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
        if number < 6:
            left, line = LEFT + number % 2 * 235, bottom + 28 + number // 2 * 14
            text = html.escape(name[:32]) + (f" … {len(moving) - 6} more" if number == 5 and len(moving) > 6 else "")
            out.append(f'<rect x="{left}" y="{line - 7}" width="12" height="3" fill="{colour}"/><text x="{left + 17}" y="{line}">{text}</text>')
    if not lines:
        out.append(f'<text x="{WIDTH / 2}" y="{HEIGHT / 2}" text-anchor="middle">No data</text>')
    return "".join(out) + "</svg>"


def page(world, spec, begin, end):
    style = (f"body{{margin:8px;background:#111217;display:flex;flex-wrap:wrap;gap:8px;width:{2 * WIDTH + 8}px}}svg{{display:block}}"
             "text{fill:#ccccdc;font:11px sans-serif}.title{font:600 13px sans-serif}h1{color:#ccccdc;font:600 16px sans-serif;width:100%;margin:4px}")
    panels = "".join(panel(world, each, begin, end) for each in spec["panels"])
    rows = math.ceil(len(spec["panels"]) / 2)
    return f"<meta charset=utf-8><style>{style}</style><h1>{spec['title']}</h1>{panels}", (2 * WIDTH + 24, rows * (HEIGHT + 8) + 48)


def applications(world, stop):
    """What an ordinary application does, besides the load of the test: pipelines, waiting, subscriptions."""
    login = f"AUTH {dashboards.PASSWORD}\r\n".encode()
    with contextlib.ExitStack() as open_ones:
        def connected():
            client = open_ones.enter_context(socket.create_connection(("127.0.0.1", world.port), timeout=2))
            client.sendall(login)
            return client
        waiting = []
        while not stop.is_set():
            try:
                if not waiting:
                    waiting = [connected(), connected(), connected()]
                    waiting[0].sendall(b"SUBSCRIBE app1:news\r\n")
                    waiting[1].sendall(b"BLPOP app1:jobs 0\r\n")
                for size in (1, 4, 16):
                    waiting[2].sendall(b"GET app1:a\r\nSET app1:b 12345678\r\n" * size)
                    waiting[2].recv(65536)
                if math.sin(time.time() / 4) > 0:
                    waiting[2].sendall(b"MGET app1:a app1:b\r\nZADD app1:z 1 m\r\nXADD app1:x * f v\r\nPUBLISH app1:news hello\r\n")
                    waiting[2].recv(65536)
                for each in waiting[:2]:
                    each.setblocking(False)
                    with contextlib.suppress(BlockingIOError):
                        if each.recv(65536) == b"":
                            raise OSError
            except OSError:
                waiting = []
            stop.wait(0.02)


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--respgate", required=True)
    arguments.add_argument("--seconds", type=int, default=90)
    arguments.add_argument("--chromium", default="chromium")
    arguments.add_argument("folder", nargs="?", default=str(dashboards.FOLDER))
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory() as work, contextlib.ExitStack() as ended:
        work = pathlib.Path(work)
        world = dashboards.World(str(pathlib.Path(options.respgate).resolve()), work, ended)
        stop = threading.Event()
        world.serve("own")
        world.proxy()
        world.scraped()
        begin = time.time()
        for target in ((world.load, (stop,)), (applications, (world, stop))):
            thread = threading.Thread(target=target[0], args=target[1])
            thread.start()
            ended.callback(thread.join)
        ended.callback(stop.set)
        time.sleep(options.seconds / 2)
        world.play()
        time.sleep(max(1, begin + options.seconds - time.time()))
        for path in sorted(dashboards.FOLDER.glob("*.json")):
            text, (width, height) = page(world, json.loads(path.read_text()), begin + 3, time.time())
            (work / "page.html").write_text(text)
            subprocess.run(
                [options.chromium, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--window-size={width},{height}",
                 f"--screenshot={work}/page.png", f"--user-data-dir={work}/chromium", f"file://{work}/page.html"],
                check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=120)
            target = pathlib.Path(options.folder) / f"{path.stem}.png"
            # 64 colours are enough for lines and letters.
            subprocess.run(["pngquant", "--force", "--output", target, "64", work / "page.png"], check=True)
            print(f"{target}: {target.stat().st_size} bytes")


if __name__ == "__main__":
    main()
