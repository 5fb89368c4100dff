"""A page of deliberate faults: what the checks of tests/support/browser.py have to find, each in a part of its own."""

from __future__ import annotations

from pathlib import Path

GOOD = "<p>Goodput of two paths.</p>"
_TABLE = "<table><caption>Numbers</caption><thead><tr><th scope='col'>n</th></tr></thead>{}</table>"
_BODY = "<tbody><tr><td>1</td></tr></tbody>"
_SVG = "<svg role='img' width='{}' height='30'{}><title>t</title><desc>d</desc>{}</svg>"

BAD: dict[str, tuple[str, str]] = {
    "wide": ("<div style='width:1600px;background:#eee'>wide</div>", "sideways: page"),
    "off-screen": ("<p style='position:absolute;left:-80px'>bytes in flight</p>", "off-screen: {}> p: “bytes in"),
    "above": (
        "<p style='position:absolute;top:-90px'>round trips</p>",
        "{}> p: “round trips” begins above",
    ),
    "cut": ("<p style='width:60px;overflow:hidden;white-space:nowrap'>a long line is cut</p>", "cut off: {}> p"),
    "cut-drawing": (_SVG.format(80, "", "<text x='50' y='15'>20 Mbit/s in all</text>"), "cut off: {}> svg > text"),
    "text-over-text": ("<p>first line</p><p style='margin-top:-30px'>second line</p>", "overlap: {}> p"),
    "label-over-label": (
        _SVG.format(
            200, " style='overflow:visible'", "<text x='20' y='20'>20 Mbit/s</text><text x='60' y='20'>x</text>"
        ),
        "overlap: {}> svg > text",
    ),
    "covered": (
        "<div style='position:relative'><span>under it</span>"
        "<b style='position:absolute;left:0;top:0;width:90px;height:22px;background:#ddd'></b></div>",
        "covered: {}> div > span",
    ),
    "tiny": ("<p style='font-size:7px'>small print</p>", "tiny: {}> p"),
    "anchor": ("<a href='#nowhere'>results</a>", "dead link: #nowhere"),
    "link-to-nothing": ("<a href='#'>results</a>", "dead link: {}> a: “results” leads nowhere"),
    "link-without-words": ("<a href='other.html'></a>", "dead link: {}> a: a link without words"),
    "missing-file": ("<a href='captures/client.pcap'>capture</a>", "client.pcap: no such file"),
    "missing-part": ("<a href='other.html#costs'>costs</a>", "other.html#costs: the other page has no such part"),
    "absolute": ("<a href='/elsewhere/run.json'>run</a>", "/elsewhere/run.json: not relative"),
    "missing-image": ("<img src='plot.png' alt='goodput'>", "broken image: plot.png"),
    "silent-image": ("<img src='data:image/gif;base64,R0lGODlhAQABAAAAACw='>", "without words: {}> img"),
    "label-of-nothing": ("<section aria-labelledby='gone'><p>x</p></section>", "aria-labelledby names #gone"),
    "pattern": (_SVG.format(20, "", "<rect width='9' height='9' style='fill:url(#lines)'/>"), "fill names #lines"),
    "symbol": (_SVG.format(20, "", "<use href='#mark'/>"), "uses #mark"),
    "empty-section": ("<section><h2>Links</h2></section>", "empty: {}> section"),
    "empty-figure": ("<figure></figure>", "empty: {}> figure"),
    "table-without-rows": (_TABLE.format(""), "table: {}> table: has no rows"),
    "table-without-caption": (f"<table><tr><th scope='col'>n</th></tr>{_BODY}</table>", "table: {}> table: has no cap"),
    "table-without-scope": ("<table><caption>c</caption><tr><th>n</th></tr></table>", "header “n” has no scope"),
    "template": ("<p>{{ page.headline }}</p>", "garbage: {}> p"),
    "nothing-of-python": ("<p>median None</p>", "garbage: {}> p"),
    "not-a-number": ("<p>goodput nan Mbit/s</p>", "garbage: {}> p"),
    "nothing-of-scripts": ("<p title='undefined'>goodput</p>", "garbage: {}> p: title"),
    "same-id": ("<p id='a'>one</p><p id='a'>two</p>", "duplicate id: #a"),
    "image-without-desc": (
        "<svg role='img' width='9' height='9'><title>t</title></svg>",
        "{}> svg: an image (SVG)",
    ),
    "image-without-role": ("<svg width='9' height='9'><circle r='3'/></svg>", "{}> svg: an SVG that is neither"),
    "skipped-heading": ("<h2>one</h2><h4>two</h4>", "headings: {}> h4"),
    "console": ("<script>console.error('the plot failed')</script>", "console: "),
    "network": ("<script>fetch('http://127.0.0.1:9/pixel').catch(() => 0)</script>", "network: asks for http://127.0"),
    "needs-scripts": (
        "<section><h2>Results</h2><p id='x'></p></section><script>x.textContent = '20 Mbit/s'</script>",
        "empty: {}> section",
    ),
    "pale": ("<p style='color:#999'>goodput</p>", "contrast: {}> p"),
    "pale-in-the-dark": (
        "<style>@media (prefers-color-scheme: dark) { .dark { background: #111; color: #333 } }</style>"
        "<p class='dark'>goodput</p>",
        "contrast: {}> p.dark",
    ),
    "pale-label": (
        _SVG.format(90, "", "<rect width='90' height='20' fill='#555'/><text x='4' y='14' fill='#333'>20</text>"),
        "contrast: {}> svg > text",
    ),
    "below-the-fold": (
        "<p style='height:1500px'>long</p><figure data-first-screen id='plot'>20 Mbit/s</figure>",
        "first screen: figure#plot begins",
    ),
    "white-on-paper": ("<p style='background:#000;color:#fff'>goodput</p>", "1.00:1, needs 4.5:1 [print, light]"),
    "wide-on-paper": (
        "<style>.box { overflow-x: auto } @media print { .box { overflow: visible } }</style>"
        "<div class='box'><pre style='width:1700px;text-align:right'>far to the right</pre></div>",
        "off-screen: {}> div.box > pre",
    ),
}
"""Name -> (what is in the part, what has to be found); ``{}`` stands for the part."""


def write(folder: Path, body: str) -> Path:
    """A page of this body that has nothing else wrong."""
    path = folder / "page.html"
    path.write_text(
        "<!DOCTYPE html><html lang='en'><head><meta charset='utf-8'><title>page</title>"
        "<meta name='viewport' content='width=device-width'>"
        "<style>body { font: 16px/1.5 sans-serif; margin: 20px } svg { display: block }</style></head>"
        f"<body><h1>A page</h1>{body}</body></html>"
    )
    (folder / "other.html").write_text("<h1 id='top-of-it'>another</h1>")
    return path


def write_all(folder: Path) -> Path:
    """A page with all the faults."""
    return write(folder, "".join(f"<div id='{name}'>{body}</div>" for name, (body, _) in BAD.items()))
