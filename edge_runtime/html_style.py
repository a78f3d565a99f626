"""The look of our reports: colours for light and dark, and the style sheet. Knows no report and no library.

Figures use the same colours: a colour of the light theme in an SVG becomes the page's variable of that name.
"""

COLOURS: dict[str, tuple[str, str]] = {
    "ink": ("#1c2229", "#e6eaee"),
    "soft": ("#58646f", "#a2aeb9"),
    "line": ("#d7dde3", "#303a43"),
    "ground": ("#fefefe", "#12161a"),
    "card": ("#f5f7f9", "#1a2026"),
    "link": ("#1a5fb0", "#7db8ff"),
    "good": ("#1a6b3a", "#74d394"),
    "bad": ("#b3261e", "#ff8f85"),
    "warn": ("#7d5200", "#f0bb56"),
    "blue": ("#0b6fb4", "#5cb2ec"),
    "orange": ("#c9590c", "#f59d58"),
    "green": ("#12805c", "#48c89e"),
    "purple": ("#8a4fa3", "#cb98e2"),
    "grey": ("#77838f", "#93a0ac"),
}
"""Name to (light, dark). blue, orange, green and purple follow Okabe and Ito and stay apart for the colour blind;
text colours keep 4.5:1 on `ground` and on `card`, data colours 3:1 (a test computes it)."""


def _theme(which: int) -> str:
    return "".join(f"--{name}:{pair[which]};" for name, pair in COLOURS.items())


STYLE = (
    f":root{{color-scheme:light dark;{_theme(0)}"
    '--sans:system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif;'
    '--mono:ui-monospace,"SF Mono",Menlo,Consolas,"DejaVu Sans Mono",monospace}\n'
    f"@media (prefers-color-scheme:dark){{:root{{{_theme(1)}}}}}"
    """
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%;scroll-padding-top:1rem}
body{margin:0;background:var(--ground);color:var(--ink);font:16px/1.55 var(--sans)}
main{max-width:64rem;margin:auto;padding:2rem 1.1rem 3rem}
h1{margin:0;font-size:1.75rem;line-height:1.2;letter-spacing:-.015em;overflow-wrap:anywhere}
h2{margin:0 0 .6rem;font-size:1.25rem;line-height:1.3;letter-spacing:-.01em}
h3{margin:1.4rem 0 .4rem;font-size:1rem}
p{margin:.5rem 0;max-width:46rem}
a{color:var(--link)}
:focus-visible{outline:2px solid var(--link);outline-offset:2px}
.lead{margin:.45rem 0 0;font-size:1.1rem;color:var(--soft)}
section{margin-top:2.6rem;padding-top:1.5rem;border-top:1px solid var(--line)}
nav ul{display:flex;flex-wrap:wrap;gap:.15rem 1.1rem;margin:1.1rem 0 0;padding:0;list-style:none;font-size:.9rem}
nav a{text-decoration:none}
nav a:hover{text-decoration:underline}
.soft,figcaption,.none{color:var(--soft)}
.none{font-size:.86em}
.note{font-size:.9rem;color:var(--soft)}
.verdict{margin:1.4rem 0 0;padding:.9rem 1.1rem 1rem;border:1px solid var(--line);border-left:5px solid var(--grey);
  border-radius:8px;background:var(--card)}
.verdict>p{margin:.3rem 0 0}
.verdict>.say{margin:0;font-size:1.2rem;font-weight:650;line-height:1.35;letter-spacing:-.005em}
.verdict.good{border-left-color:var(--good)}
.verdict.bad{border-color:var(--bad);border-left-width:5px}
.verdict.bad>.say{color:var(--bad)}
.verdict.warn{border-left-color:var(--warn)}
.verdict ul{margin:.4rem 0 0;padding-left:1.2rem}
.badge{display:inline-block;padding:0 .5em;border:1px solid currentColor;border-radius:99px;font-size:.82em;
  font-weight:650;line-height:1.55;white-space:nowrap;color:var(--soft)}
.badge.good{color:var(--good)}
.badge.bad{color:var(--bad)}
.badge.warn{color:var(--warn)}
.wide{overflow-x:auto;margin:.9rem 0;
  background:linear-gradient(to left,var(--ground) 40%,transparent) right/3rem 100% no-repeat local,
  radial-gradient(farthest-side at 100% 50%,var(--grey),transparent) right/.6rem 100% no-repeat scroll}
table{border-collapse:collapse;font-size:.9rem;font-variant-numeric:tabular-nums;min-width:min(100%,34rem)}
caption{text-align:left;font-weight:600;padding:0 0 .45rem}
caption span{position:sticky;left:0;display:inline-block;max-width:min(46rem,calc(100vw - 2.2rem))}
th,td{padding:.36rem .75rem .36rem 0;border-top:1px solid var(--line);text-align:left;vertical-align:baseline}
thead th{border-top:0;color:var(--soft);font-weight:400;font-size:.92em;vertical-align:bottom}
tbody th{font-weight:600;white-space:nowrap}
td small,th small{display:block;font-size:.88em;font-weight:400;color:var(--soft)}
.r{text-align:right}
td.l{min-width:min(8rem,30vw)}
td.r{white-space:nowrap}
.c{text-align:center}
dl.lines{margin:.8rem 0 0;font-size:.9rem}
.lines div{display:grid;grid-template-columns:6.5rem minmax(0,1fr);margin-top:.15rem}
.lines dt{color:var(--soft)}
.lines dd{margin:0;overflow-wrap:anywhere}
dl.facts{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,15rem),1fr));gap:.75rem 1.4rem;
  margin:.9rem 0}
.facts dt{color:var(--soft);font-size:.84rem}
.facts dd{margin:0;overflow-wrap:anywhere;font-variant-numeric:tabular-nums}
figure{margin:1.2rem 0 0;min-width:0;max-width:31rem;break-inside:avoid}
figure svg,figure img{display:block;width:100%;height:auto}
figure svg{overflow:visible}
figcaption{margin-top:.35rem;font-size:.88rem;line-height:1.45;max-width:46rem}
.figures{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,26rem),1fr));gap:1.8rem 2.2rem;
  margin-top:1.2rem}
.figures.flow{display:block;columns:26rem;column-gap:2.2rem}
.figures>figure{margin:0;max-width:none}
div.figures+*{margin-top:1.4rem}
.figures.flow>figure{padding-bottom:1.6rem}
.gallery{display:grid;grid-template-columns:repeat(auto-fill,minmax(7rem,1fr));gap:.9rem;margin:.9rem 0}
.gallery>figure{margin:0}
.gallery img{image-rendering:pixelated;border-radius:5px}
.gallery figcaption{font-size:.78rem;line-height:1.35;overflow-wrap:anywhere}
details{margin:.7rem 0;border:1px solid var(--line);border-radius:8px;padding:.5rem .9rem;min-width:0}
details[open]{padding-bottom:.8rem}
summary{cursor:pointer;font-weight:600}
summary .soft{font-weight:400}
code,pre{font-family:var(--mono);font-size:.86em}
pre{margin:.7rem 0;padding:.7rem .9rem;border-radius:8px;background:var(--card);border:1px solid var(--line);
  white-space:pre-wrap;overflow-wrap:anywhere}
footer{margin-top:3rem;padding-top:1rem;border-top:1px solid var(--line);font-size:.84rem;color:var(--soft)}
@media (max-width:40rem){
tbody th{position:sticky;left:0;background:var(--ground)}
main{padding:1.2rem 1rem 2.5rem}h1{font-size:1.4rem}section{margin-top:2rem}
.lines div{display:block;margin-top:.4rem}
}
@media print{"""
    f":root{{color-scheme:light;{_theme(0)}}}"
    """
@page{margin:14mm}
main{max-width:none;padding:0}body{font-size:10.5pt}nav{display:none}
section{margin-top:1.3rem;padding-top:1rem}h2,h3,caption{break-after:avoid}tr,.verdict{break-inside:avoid}
.wide{overflow:visible;background:none}table{font-size:8pt}.figures{grid-template-columns:1fr 1fr}
.figures.flow{columns:2}
details{border:0;padding:0}details::details-content{content-visibility:visible;display:block;height:auto}
details.raw{display:none}
}
"""
)
