"""Line plots as plain SVG text, without a library. Called by `podway simulate` and the benchmarks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import log10

_WIDTH, _HEIGHT = 720, 360
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 150, 36, 44
_COLOURS = ("#1b6ca8", "#d1495b", "#3a7d44", "#edae49", "#6a4c93")

Point = tuple[float, float]


def line_plot(
    title: str,
    lines: Mapping[str, Sequence[Point]],
    *,
    across: str,
    up: str,
    logarithmic: bool = False,
) -> str:
    """An SVG document. With *logarithmic* axes only points above zero are drawn."""
    shown = {
        name: [(x, y) for x, y in points if not logarithmic or (x > 0 and y > 0)]
        for name, points in lines.items()
    }
    xs = [x for points in shown.values() for x, _ in points] or [0.0, 1.0]
    ys = [y for points in shown.values() for _, y in points] or [0.0, 1.0]
    low_y = min(ys) if logarithmic else 0.0
    x_of = _scale(min(xs), max(xs), _LEFT, _WIDTH - _RIGHT, logarithmic=logarithmic)
    y_of = _scale(low_y, max(ys), _HEIGHT - _BOTTOM, _TOP, logarithmic=logarithmic)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" font-size="12">',
        '<rect width="100%" height="100%" fill="white"/>',
        f'<text x="{_LEFT}" y="20" font-size="14">{title}</text>',
        f'<path d="M{_LEFT} {_TOP}V{_HEIGHT - _BOTTOM}H{_WIDTH - _RIGHT}" fill="none" stroke="black"/>',
        f'<text x="{(_LEFT + _WIDTH - _RIGHT) // 2}" y="{_HEIGHT - 8}" text-anchor="middle">{across}</text>',
        f'<text transform="translate(14 {_HEIGHT // 2}) rotate(-90)" text-anchor="middle">{up}</text>',
        *(_label(x_of(x), _HEIGHT - _BOTTOM + 16, x, "middle") for x in sorted({min(xs), max(xs)})),
        *(_label(_LEFT - 6, y_of(y) + 4, y, "end") for y in sorted({low_y, max(ys)})),
    ]
    for number, (name, points) in enumerate(shown.items()):
        colour = _COLOURS[number % len(_COLOURS)]
        path = " ".join(f"{x_of(x):.1f},{y_of(y):.1f}" for x, y in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
        parts.append(
            f'<text x="{_WIDTH - _RIGHT + 10}" y="{_TOP + 14 + 18 * number}" fill="{colour}">{name}</text>'
        )
    return "\n".join([*parts, "</svg>", ""])


def _label(x: float, y: float, value: float, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{value:g}</text>'


class _scale:  # noqa: N801  (used like a function)
    def __init__(self, low: float, high: float, start: float, end: float, *, logarithmic: bool) -> None:
        self._logarithmic = logarithmic
        self._low = log10(low) if logarithmic else low
        span = (log10(high) if logarithmic else high) - self._low
        self._factor = (end - start) / (span or 1.0)
        self._start = start

    def __call__(self, value: float) -> float:
        return self._start + ((log10(value) if self._logarithmic else value) - self._low) * self._factor
