"""The chart of the README: bars of CPU per request, each scenario on a scale of its own. SVG, written by hand."""
from xml.sax.saxutils import escape

from .report import LABELS, number

SHOWN = ["h1", "h2c-h1", "h2c-h2c", "tls-h1", "tls-h2", "tcp", "h1-new", "h1-1m"]
COLOURS = {"outrider": "#0b6e4f", "envoy": "#c9c9d6", "nginx": "#a9b4c8", "haproxy": "#8494b0"}
WIDTH, LEFT, RIGHT, BAR, GAP, TOP = 860, 270, 90, 13, 14, 64


def draw(document, labels):
    """document: report.Document; labels: {scenario: text}. The text of an SVG file; None when nothing of it was measured."""
    rows = [(name, [(proxy, document.figure(name, proxy, "cpu_us")) for proxy in document.proxies]) for name in SHOWN]
    rows = [(name, [(proxy, found[0]) for proxy, found in bars if found]) for name, bars in rows]
    rows = [(name, bars) for name, bars in rows if bars]
    if not rows:
        return None
    parts, y = [], TOP
    for name, bars in rows:
        most = max(value for _, value in bars)
        middle = y + len(bars) * BAR / 2
        parts.append(f'<text x="{LEFT - 12}" y="{middle + 4:.1f}" text-anchor="end" class="l">{escape(labels[name])}</text>')
        for proxy, value in bars:
            length = max(1.0, (WIDTH - LEFT - RIGHT) * value / most)
            weight = ' class="b"' if proxy == "outrider" else ' class="v"'
            parts.append(f'<rect x="{LEFT}" y="{y:.1f}" width="{length:.1f}" height="{BAR - 2}" rx="2" fill="{COLOURS[proxy]}"/>')
            parts.append(f'<text x="{LEFT + length + 6:.1f}" y="{y + BAR - 4:.1f}"{weight}>{number(value)}</text>')
            y += BAR
        y += GAP
    x, legend = LEFT, []
    for proxy in document.proxies:
        legend.append(f'<rect x="{x}" y="38" width="11" height="11" rx="2" fill="{COLOURS[proxy]}"/><text x="{x + 16}" y="48" class="v">{LABELS[proxy]}</text>')
        x += 92
    return f"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y + 4:.0f}" width="{WIDTH}" height="{y + 4:.0f}" role="img" aria-label="CPU time per request">
<style>text{{font-family:system-ui,sans-serif;fill:#222}}.t{{font-size:15px;font-weight:600}}.l{{font-size:13px}}.v{{font-size:11px;fill:#555}}.b{{font-size:11px;font-weight:700}}</style>
<rect width="100%" height="100%" fill="#ffffff"/>
<text x="{LEFT}" y="24" class="t">CPU microseconds of the proxy per request, less is better</text>
{"".join(legend)}
{chr(10).join(parts)}
</svg>
"""
