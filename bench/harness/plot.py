"""A plot as SVG: lines over a logarithmic axis of sizes, drawn by hand so that no library is needed for it."""

from collections.abc import Mapping, Sequence
from html import escape
from math import log10

Point = tuple[float, float]

WIDTH, HEIGHT = 760, 400
LEFT, RIGHT, TOP, BOTTOM = 80, 190, 40, 60
COLOURS = ("#1b6ca8", "#c0392b", "#2e8b57", "#8e44ad")


def draw(lines: Mapping[str, Sequence[Point]], *, title: str, x_label: str, y_label: str) -> str:
    """Return the picture. Both axes are logarithmic; every value is above zero."""
    points = [point for line in lines.values() for point in line]
    scale = _Scale(points)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        _text(WIDTH / 2, 22, title, size=15, anchor="middle"),
        _text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 14, x_label, anchor="middle"),
        f'<g transform="rotate(-90 18 {HEIGHT / 2})">{_text(18, HEIGHT / 2, y_label, anchor="middle")}</g>',
        *_grid(scale),
    ]
    for number, (name, line) in enumerate(lines.items()):
        parts += _line(scale, name, sorted(line), COLOURS[number % len(COLOURS)], number)
    return "\n".join([*parts, "</svg>", ""])


class _Scale:
    """From values to places on the picture."""

    def __init__(self, points: Sequence[Point]) -> None:
        xs, ys = [log10(x) for x, _ in points], [log10(y) for _, y in points]
        self.decades_x = range(round(min(xs)), round(max(xs)) + 1)
        self.decades_y = range(int(min(ys) // 1), int(-(-max(ys) // 1)) + 1)

    def place(self, x: float, y: float) -> Point:
        across = (log10(x) - self.decades_x[0]) / max(1, len(self.decades_x) - 1)
        up = (log10(y) - self.decades_y[0]) / max(1, len(self.decades_y) - 1)
        return LEFT + across * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM)


def _grid(scale: _Scale) -> list[str]:
    parts = []
    for decade in scale.decades_x:
        x, _ = scale.place(10**decade, 10 ** scale.decades_y[0])
        parts.append(f'<path d="M{x:.1f} {TOP}V{HEIGHT - BOTTOM}" stroke="#e0e0e0"/>')
        parts.append(_text(x, HEIGHT - BOTTOM + 18, f"{10**decade:,}", anchor="middle"))
    for decade in scale.decades_y:
        _, y = scale.place(10 ** scale.decades_x[0], 10**decade)
        parts.append(f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="#e0e0e0"/>')
        parts.append(_text(LEFT - 8, y + 4, f"{10**decade:g}", anchor="end"))
    return parts


def _line(scale: _Scale, name: str, line: Sequence[Point], colour: str, number: int) -> list[str]:
    places = [scale.place(x, y) for x, y in line]
    path = "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
    dots = [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"/>' for x, y in places]
    values = [
        _text(x, y - 9, f"{value:.3g}", anchor="middle")
        for (x, y), (_, value) in zip(places, line, strict=True)
    ]
    legend = WIDTH - RIGHT + 16
    key = f'<path d="M{legend} {TOP + 12 + 22 * number}h18" stroke="{colour}" stroke-width="2.5"/>'
    stroke = f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="2"/>'
    return [stroke, *dots, *values, key, _text(legend + 24, TOP + 16 + 22 * number, name)]


def _text(x: float, y: float, words: str, *, size: int = 12, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}">{escape(words)}</text>'
