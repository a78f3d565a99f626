"""The shell of the reports: what comes from data is escaped, nothing is loaded, colours can be read."""

import base64
import re

import pytest

from fer_edge.edge_runtime import figure_style
from fer_edge.edge_runtime.html_page import (
    Raw,
    badge,
    bullets,
    details,
    element,
    facts,
    figure,
    gallery,
    join,
    page,
    section,
    table,
    text,
    verdict,
)
from fer_edge.edge_runtime.html_style import COLOURS, STYLE

NASTY = "<script>alert('1')</script> & \"co\""
ESCAPED = "&lt;script&gt;alert(&#x27;1&#x27;)&lt;/script&gt; &amp; &quot;co&quot;"
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


@pytest.mark.parametrize(
    "made",
    [
        text(NASTY),
        table([NASTY], [[NASTY]], NASTY),
        facts([(NASTY, NASTY)]),
        bullets([NASTY]),
        details(NASTY, NASTY),
        badge(NASTY, "good"),
        verdict(NASTY, "bad", NASTY),
        section(NASTY, NASTY, anchor=NASTY),
        element("p", NASTY, title=NASTY),
        figure(PNG, NASTY, NASTY),
        figure("<svg viewBox='0 0 1 1'></svg>", NASTY, NASTY),
        gallery([(PNG, NASTY, NASTY)]),
        page(NASTY, NASTY, [section(NASTY, NASTY)], NASTY),
    ],
)
def test_what_comes_from_data_is_escaped(made: str) -> None:
    assert "<script" not in made
    assert ESCAPED in made
    assert NASTY not in made


def test_what_is_html_already_stays_so() -> None:
    assert join("a<b", Raw("<i>c</i>"), 1) == "a&lt;b<i>c</i>1"
    assert table(["x"], [[badge("int8", "good")]]).count('<span class="badge good">int8</span>') == 1


def test_a_table_names_its_rows_and_says_what_was_not_measured() -> None:
    made = table(["variant", "p50", "note"], [["tflite/int8", None, "a"]], "Latency, ms", align="lrl")
    assert "<caption><span>Latency, ms</span></caption>" in made
    assert 'aria-label="Latency, ms"' in made
    assert made.count('scope="col"') == 3
    assert '<th scope="row" class="l">tflite/int8</th>' in made
    assert '<td class="r"><span class="none">not measured</span></td>' in made


@pytest.mark.parametrize(("rows", "align"), [([["a"]], None), ([["a", "b", "c"]], None), ([["a", "b"]], "lrr")])
def test_a_table_refuses_rows_of_another_length(rows: list[list[str]], align: str | None) -> None:
    with pytest.raises(ValueError, match=r"letters of alignment|argument 2"):
        table(["x", "y"], rows, align=align)


def test_the_verdict_stands_before_the_contents_and_the_sections() -> None:
    parts = [section("One", anchor="one"), verdict("It is fast.", "good"), section("Two", anchor="two"), section("No")]
    few = page("T", "L", parts)
    assert "<nav" not in few
    many = page("T", "L", [*parts, section("Three", anchor="three")])
    order = [many.index(mark) for mark in ("<h1>T</h1>", "It is fast.", "<nav", ">One</h2>", ">No</h2>", ">Three</h2>")]
    assert order == sorted(order)
    assert re.findall(r'<a href="#(\w+)">', many) == ["one", "two", "three"]


def test_the_page_forbids_itself_the_network_and_scripts() -> None:
    made = page("T", "L", [])
    assert "default-src 'none'" in html_of(made)
    assert "http" not in made.replace("http-equiv", "")
    assert "url(" not in STYLE


def html_of(made: str) -> str:
    return made.replace("&#x27;", "'")


def test_a_png_is_carried_in_the_page() -> None:
    made = figure(PNG, "c", "a dot")
    assert f'src="data:image/png;base64,{base64.b64encode(PNG).decode()}"' in made
    assert 'alt="a dot"' in made


def test_a_figure_takes_the_colours_of_the_page_and_has_ids_of_its_own() -> None:
    def drawn(label: str) -> str:
        with figure_style.style():
            made, (axes,) = figure_style.canvas(100)
            axes.plot([1, 2], [1, 2], color=figure_style.BLUE, label=label)
            axes.legend()
            return figure_style.svg(made)

    one, other = figure(drawn("$x^2$ <b>"), "c", "first"), figure(drawn("y"), "c", "second")
    assert not re.findall(r"#[0-9a-f]{6}\b", one)
    assert "var(--blue)" in one
    assert "font-family: var(--sans)" in one
    assert "$x^2$ &lt;b&gt;" in one
    assert 'role="img" aria-label="first"' in one
    assert "http" not in one
    ids = [set(re.findall(r'id="([^"]+)"', made)) for made in (one, other)]
    assert not ids[0] & ids[1]
    assert set(re.findall(r'(?:href="|url\()#([^")]+)', one)) <= ids[0]


def test_the_same_figure_gives_the_same_bytes() -> None:
    def drawn() -> str:
        with figure_style.style():
            made, (axes,) = figure_style.canvas(100)
            axes.plot([1, 2], [2, 1])
            return figure_style.svg(made)

    assert drawn() == drawn()


def luminance(colour: str) -> float:
    """Relative luminance as WCAG 2 defines it."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("theme", [0, 1])
def test_text_and_data_stand_out_from_the_ground_in_both_themes(theme: int) -> None:
    for ground in ("ground", "card"):
        for name in ("ink", "soft", "link", "good", "bad", "warn"):
            assert contrast(COLOURS[name][theme], COLOURS[ground][theme]) >= 4.5, (name, ground)
        for name in ("blue", "orange", "green", "purple", "grey"):
            assert contrast(COLOURS[name][theme], COLOURS[ground][theme]) >= 3, (name, ground)


def test_each_light_colour_is_one_name_only() -> None:
    light = [pair[0] for pair in COLOURS.values()]
    assert len(set(light)) == len(light)
