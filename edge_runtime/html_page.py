"""The shell of our reports: one self-contained HTML file, read without network, script or any other file.

Everything given as plain text is escaped; only what these functions return is HTML. Knows no report's content and no
figure library: figures come in as SVG text or PNG bytes.
"""

import base64
import hashlib
import html
import re
from collections.abc import Iterable, Sequence
from typing import Literal

from fer_edge.edge_runtime.html_style import COLOURS, STYLE

Kind = Literal["good", "bad", "warn", "unknown"]
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
_CELL = {"l": ' class="l"', "r": ' class="r"', "c": ' class="c"'}


class Raw(str):
    """Text that is HTML already and is not escaped again."""

    __slots__ = ()


class Section(Raw):
    """A part of the page; `anchor` is where a link leads, None where it is not listed."""

    heading: Raw
    anchor: str | None


def text(value: object) -> Raw:
    """`value` as HTML: escaped unless it is `Raw`; None is "not measured"."""
    if isinstance(value, Raw):
        return value
    if value is None:
        return Raw('<span class="none">not measured</span>')
    return Raw(html.escape(str(value)))


def join(*parts: object) -> Raw:
    """Parts one after the other, the plain ones escaped."""
    return Raw("".join(map(text, parts)))


def element(tag: str, *parts: object, **attributes: str | None) -> Raw:
    """`<tag attributes>parts</tag>`; a trailing underscore of an attribute's name is dropped, None leaves it out."""
    given = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{html.escape(value)}"'
        for name, value in attributes.items()
        if value is not None
    )
    return Raw(f"<{tag}{given}>{join(*parts)}</{tag}>")


def paragraph(*parts: object) -> Raw:
    """A paragraph."""
    return element("p", *parts)


def note(*parts: object) -> Raw:
    """A paragraph in small grey type: how to read what stands above it."""
    return element("p", *parts, class_="note")


def bullets(items: Iterable[object]) -> Raw:
    """A list; without items nothing."""
    rows = [element("li", item) for item in items]
    return element("ul", *rows) if rows else Raw("")


def code(value: str) -> Raw:
    """A command or a hash in a line of text."""
    return element("code", value)


def block(value: str) -> Raw:
    """Preformatted text that wraps."""
    return element("pre", value)


def badge(label: str, kind: Kind) -> Raw:
    """A mark that is told apart by its word, and by its colour too."""
    return element("span", label, class_=f"badge {kind}")


def verdict(say: object, kind: Kind, *parts: object) -> Raw:
    """The box at the top: one sentence in large type, then `parts`."""
    return element("div", element("p", say, class_="say"), *parts, class_=f"verdict {kind}")


def section(heading: object, *parts: object, anchor: str | None = None) -> Section:
    """A part of the page with a heading; `page` lists those with an anchor below its verdict."""
    head = element("h2", heading, id=anchor)
    made = Section(element("section", head, *parts, aria_labelledby=anchor))
    made.heading, made.anchor = text(heading), anchor
    return made


def subheading(heading: str) -> Raw:
    """A heading inside a section."""
    return element("h3", heading)


def table(
    columns: Sequence[object], rows: Iterable[Sequence[object]], caption: object | None = None, align: str | None = None
) -> Raw:
    """A table whose first column names the row. It scrolls by itself where the page is narrower.

    Args:
        columns: the headings.
        rows: cells, as many as columns; None is "not measured".
        caption: what the table shows; units belong into it or into the headings.
        align: a letter a column, `l`, `r` or `c`; by default `l` and then `r` throughout.

    Raises:
        ValueError: a row or `align` has another length than `columns`.
    """
    align = align or "l" + "r" * (len(columns) - 1)
    if len(align) != len(columns):
        raise ValueError(f"expected {len(columns)} letters of alignment, got {align!r}")
    head = "".join(f'<th scope="col"{_CELL[side]}>{text(cell)}</th>' for side, cell in zip(align, columns, strict=True))
    body = "".join(_row(row, align) for row in rows)
    title = "" if caption is None else element("caption", element("span", caption))
    label = None if caption is None else re.sub(r"<[^>]*>", "", text(caption))
    drawn = Raw(f"<table>{title}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>")
    region = f' role="region" aria-label="{html.escape(html.unescape(label))}"' if label else ""
    return Raw(f'<div class="wide" tabindex="0"{region}>{drawn}</div>')


def _row(row: Sequence[object], align: str) -> str:
    first, *others = zip(align, row, strict=True)
    cells = "".join(f"<td{_CELL[side]}>{text(cell)}</td>" for side, cell in others)
    return f'<tr><th scope="row"{_CELL[first[0]]}>{text(first[1])}</th>{cells}</tr>'


def facts(pairs: Iterable[tuple[str, object]]) -> Raw:
    """Names and values as a definition list in columns; None is "not measured"."""
    return element(
        "dl", *(element("div", element("dt", name), element("dd", value)) for name, value in pairs), class_="facts"
    )


def lines(pairs: Iterable[tuple[str, object]]) -> Raw:
    """Names and values as a definition list, one below the other in small type."""
    return element(
        "dl", *(element("div", element("dt", name), element("dd", value)) for name, value in pairs), class_="lines"
    )


def details(summary: object, *parts: object, is_raw: bool = False) -> Raw:
    """Parts folded away until they are asked for; printed unfolded, or with `is_raw` not at all."""
    return element("details", element("summary", summary), *parts, class_="raw" if is_raw else None)


def figure(picture: bytes | str, caption: object, alt: str) -> Raw:
    """A picture with its caption.

    Args:
        picture: PNG bytes, or SVG text: it stands in the page itself and takes the page's colours.
        caption: how to read it.
        alt: what is seen, for those who do not see it.
    """
    if isinstance(picture, bytes):
        data = base64.b64encode(picture).decode("ascii")
        drawn = Raw(f'<img src="data:image/png;base64,{data}" alt="{html.escape(alt)}">')
    else:
        drawn = _inline(picture, alt)
    return element("figure", drawn, element("figcaption", caption) if caption else "")


def figures(*drawn: Raw, flow: bool = False) -> Raw:
    """Figures side by side where there is room; with `flow` in two columns from top to bottom, for unequal heights.

    Without figures nothing.
    """
    if not drawn:
        return Raw("")
    return element("div", *drawn, class_="figures flow" if flow else "figures")


def gallery(pictures: Iterable[tuple[bytes, object, str]]) -> Raw:
    """Small pictures in rows: PNG bytes, caption, alternative text. Pixels are enlarged without smoothing."""
    return element("div", *(figure(png, caption, alt) for png, caption, alt in pictures), class_="gallery")


def _inline(svg: str, alt: str) -> Raw:
    """SVG as part of the page: no declaration, name space or metadata; own ids; the page's colours and fonts."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = (
        re.sub(r'\s(?:xmlns(?::\w+)?|width|height|version)="[^"]*"', "", svg[: svg.index(">")]) + svg[svg.index(">") :]
    )
    mark = "f" + hashlib.sha256(svg.encode()).hexdigest()[:8]
    svg = re.sub(r'\bid="([^"]+)"', rf'id="{mark}\1"', svg)
    svg = re.sub(r'(href="|url\()#([^")]+)', rf"\1#{mark}\2", svg)
    svg = re.sub(r'style="[^"]*"', _themed, svg)
    return Raw(svg.replace("<svg", f'<svg role="img" aria-label="{html.escape(alt)}"', 1))


def _themed(style: re.Match[str]) -> str:
    """A style attribute with the page's colours for those of the light theme, and the page's type."""
    given = re.sub(r'font-family: [^;"]*', "font-family: var(--sans)", style[0])
    for name, (light, _) in COLOURS.items():
        given = given.replace(light, f"var(--{name})")
    return given


def page(title: str, lead: object, sections: Sequence[object], foot: object = "") -> str:
    """The whole page.

    Args:
        title: the heading and the window's title.
        lead: one sentence below it.
        sections: what `verdict` and `section` gave; what is no section (the verdict) stands first.
        foot: a line at the end: what made the page and when.
    """
    opening = [part for part in sections if not isinstance(part, Section)]
    listed = [part for part in sections if isinstance(part, Section)]
    links = [element("a", part.heading, href=f"#{part.anchor}") for part in listed if part.anchor]
    nav = element("nav", bullets(links), aria_label="Contents") if len(links) > 2 else ""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        f"<title>{html.escape(title)}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n"
        f"<header>{element('h1', title)}{element('p', lead, class_='lead')}</header>\n"
        f"{join(*opening)}\n{nav}\n{join(*listed)}\n"
        f"{element('footer', foot) if foot else ''}\n</main>\n</body>\n</html>\n"
    )
