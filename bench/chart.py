"""The rates at 16 connections as bars: an SVG that reads well on light and on dark."""

from html import escape

from figures import CEILING, NAMES, RIVALS, Results

WIDTH, EDGE, LEFT, RIGHT = 880, 16, 106, 70
TOP, BAR, GAP = 98, 15, 14
COLOURS = {"ceiling": "#8b949e", "small": "#1f6feb", "large": "#58a6ff"}
COLOURS |= {"FastAPI": "#d29922", "Flask": "#a371f7"}
STYLE = """
  text { font: 13px system-ui, sans-serif; fill: #1f2328 }
  .title { font-size: 15px; font-weight: 600 }
  .axis { stroke: #8b949e }
  .ground { fill: #ffffff }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 }
    .ground { fill: #0d1117 }
  }
"""


def chart(results: Results) -> str:
    """Requests/s by operation and server, contactapi's smallest and largest database
    among them."""
    colours = {
        CEILING: COLOURS["ceiling"],
        results.smallest(): COLOURS["small"],
        results.largest(): COLOURS["large"],
        **{RIVALS[name]: COLOURS[name] for name in RIVALS},
    }
    servers = [label for label in colours if label in results.weight]
    most = max([1, *(results.rate(s, each) for s in servers for each in NAMES)])
    scale = (WIDTH - LEFT - RIGHT) / most
    marks = [text(EDGE, 30, "Requests per second at 16 connections", "title")]
    for place, server in enumerate(servers):
        x, y = EDGE + place % 3 * 290, 46 + place // 3 * 20
        marks += [bar(x, y, 12, 12, colours[server]), text(x + 18, y + 11, server)]
    y = TOP
    for operation, name in NAMES.items():
        marks.append(text(EDGE, y + BAR * len(servers) / 2 + 4, name))
        for server in servers:
            rate = results.rate(server, operation)
            marks.append(bar(LEFT, y, rate * scale, BAR - 2, colours[server]))
            marks.append(text(LEFT + rate * scale + 6, y + 11, f"{rate:,.0f}"))
            y += BAR
        y += GAP
    marks.append(f'<path class="axis" d="M{LEFT - 1} {TOP - 4}V{y - GAP + 2}"/>')
    return drawing(WIDTH, y - GAP + EDGE, marks)


def drawing(width: int, height: int, marks: list) -> str:
    size = f'width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
    content = "\n".join(marks)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">\n'
        "<title>Requests per second at 16 connections</title>\n"
        f"<style>{STYLE}</style>\n"
        '<rect class="ground" width="100%" height="100%" rx="6"/>\n'
        f"{content}\n</svg>\n"
    )


def bar(x: float, y: float, width: float, height: float, colour: str) -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"'
    return f'<rect {place} rx="2" fill="{colour}"/>'


def text(x: float, y: float, what: str, style: str = "") -> str:
    named = f' class="{style}"' if style else ""
    return f'<text x="{x:.1f}" y="{y:.1f}"{named}>{escape(what)}</text>'
