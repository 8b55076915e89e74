# SPDX-License-Identifier: Apache-2.0
"""The figures of the network for people: a plot, and the table in README."""
import html
import os

from engines import TOP

PLOT = f"{TOP}/examples/net/cost.svg"
ROWS = {
    "publish": "keep-alive request, remote client", "connect": "new connection, remote client", "bulk": "TCP bulk, per MB, remote client",
    "udp": "64-byte datagram, remote client", "local": "keep-alive request, client on 127.0.0.1", "localconnect": "new connection, client on 127.0.0.1",
}
SIDES = {"kedge": "#1b7f5c", "routed": "#8a94a6", "dockerd": "#c4722a"}
LEFT, SCALE, BAR, GAP, TOP_Y, MOST = 290, 170, 13, 16, 64, 3.2


def plot(results):
    """Bars from 1, which is the server on the host itself; longer is dearer."""
    out, y = [], TOP_Y
    for k, words in ROWS.items():
        r = {s: results[k][s] for s in SIDES if s in results.get(k, {})}
        if not r:
            continue
        out.append(f'<text x="{LEFT - 12}" y="{y + len(r) * BAR / 2 + 4:.0f}" text-anchor="end">{html.escape(words)}</text>')
        for side, v in r.items():
            at, to = sorted((1.0, min(v, MOST)))
            out.append(f'<rect x="{LEFT + at * SCALE:.1f}" y="{y}" width="{max((to - at) * SCALE, 1):.1f}" height="{BAR - 2}" fill="{SIDES[side]}"/>')
            out.append(f'<text x="{LEFT + to * SCALE + 5:.1f}" y="{y + BAR - 3}" class="n">{v:.2f}</text>')
            y += BAR
        y += GAP
    wide = LEFT + int(MOST * SCALE) + 60
    legend = "".join(f'<rect x="{LEFT + 60 + i * 110}" y="30" width="11" height="11" fill="{c}"/><text x="{LEFT + 76 + i * 110}" y="40">{s}</text>'
                     for i, (s, c) in enumerate(SIDES.items()))
    grid = "".join(f'<line x1="{LEFT + x * SCALE:.0f}" y1="{TOP_Y - 8}" x2="{LEFT + x * SCALE:.0f}" y2="{y - GAP + 4}" stroke="{"#333" if x == 1 else "#ddd"}"/>'
                   f'<text x="{LEFT + x * SCALE:.0f}" y="{y + 6}" text-anchor="middle" class="n">{x:g}</text>' for x in (1, 1.5, 2, 2.5, 3))
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{wide}" height="{y + 30}" font-family="sans-serif" font-size="12">\n'
            f'<style>.n {{ font-size: 11px; fill: #444 }}</style><rect width="100%" height="100%" fill="white"/>\n'
            f'<text x="12" y="20" font-size="14" font-weight="bold">CPU time per operation, over the same server on the host itself (1)</text>\n'
            f'{legend}\n{grid}\n' + "\n".join(out) + f'\n<text x="12" y="{y + 24}" class="n">drawn by tools/bench --figures; '
            f'everything counts: client, kernel, server, engine</text>\n</svg>\n')


def table(results):
    lines = [f"    {'':44}" + "".join(f"{s:>10}" for s in SIDES)]
    for k, words in ROWS.items():
        if k in results:
            lines.append(f"    {words:44}" + "".join(f"{results[k][s]:10.2f}" if s in results[k] else f"{'-':>10}" for s in SIDES))
    return lines


def write(results):
    """The plot, and README's table: the indented lines after the one that names this command."""
    with open(PLOT, "w") as f:
        f.write(plot(results))
    name = f"{TOP}/README"
    with open(name) as f:
        lines = f.read().split("\n")
    at = next(i for i, line in enumerate(lines) if line.endswith("`tools/bench --figures`:")) + 2
    end = at
    while end < len(lines) and lines[end].startswith("    "):
        end += 1
    lines[at:end] = table(results)
    with open(f"{name}.new", "w") as f:
        f.write("\n".join(lines))
    os.replace(f"{name}.new", name)
