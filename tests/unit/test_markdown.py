"""What becomes of Markdown, and that nothing but harmless HTML comes out."""

import time
from html.parser import HTMLParser

import nh3
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blog_service.markdown import (
    ATTRIBUTES,
    EXCERPT_LENGTH,
    LINKS_MAX,
    REL,
    SCHEMES,
    TAGS,
    excerpt,
    html_of,
)
from blog_service.texts import POST_LENGTH_MAX

URL = "https://example.org/a_b?c=1&d=2"
LINK = f'<a href="https://example.org/a_b?c=1&amp;d=2" rel="{REL}">'

XSS = (
    "<script>alert(1)</script>",
    "<SCRIPT SRC=//evil.example/x.js></SCRIPT>",
    "<img src=x onerror=alert(1)>",
    "<img src='javascript:alert(1)'>",
    "<svg/onload=alert(1)>",
    "<svg><script>alert&#40;1)</script></svg>",
    "<math><mi xlink:href='javascript:alert(1)'>x</mi></math>",
    "<iframe srcdoc='<script>alert(1)</script>'></iframe>",
    "<a href='javascript:alert(1)'>x</a>",
    "<a href='https://a.example' onclick='alert(1)' style='position:fixed'>x</a>",
    "<base href='https://evil.example/'>",
    "<meta http-equiv=refresh content='0;url=javascript:alert(1)'>",
    "<form action=https://evil.example><input name=password></form>",
    "<style>@import 'https://evil.example/x.css'</style>",
    "<noscript><p title='</noscript><img src=x onerror=alert(1)>'>",
    "<table><td><svg><desc><noscript><p title='</noscript><img src onerror=alert(1)>'>",
    "<!--<img src='--><img src=x onerror=alert(1)//'>",
    "<![CDATA[<script>alert(1)</script>]]>",
    "<?php echo 1 ?>",
    "</textarea></title></style><script>alert(1)</script>",
    "[x](javascript:alert(1))",
    "[x](JaVaScRiPt:alert(1))",
    "[x](java&#10;script:alert(1))",
    "[x](java\tscript:alert(1))",
    "[x](<javascript:alert(1)>)",
    "[x](&#x6A&#x61&#x76&#x61&#x73&#x63&#x72&#x69&#x70&#x74&#x3A&#x61)",
    "[x](vbscript:msgbox(1))",
    "[x](data:text/html;base64,PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg==)",
    "[x](file:///etc/passwd)",
    "[x](//evil.example)",
    "[x](/v1/me)",
    "[x](#main)",
    "[x](https://a.example \"' onmouseover='alert(1)\")",
    "[x]: javascript:alert(1)\n\n[x]",
    "<javascript:alert(1)>",
    "<data:text/html,x>",
    "![x](https://evil.example/pixel.png)",
    "![x](javascript:alert(1))",
    "![x](x\"onerror=\"alert(1))",
    "https://a.example/\"onmouseover=\"alert(1)",
    "https://a.example/'onmouseover='alert(1)",
    "https://a.example/<script>alert(1)</script>",
    "`<script>alert(1)</script>`",
    "```\"><script>alert(1)</script>\n</code></pre><script>alert(1)</script>\n```",
    "```js onload=alert(1)\nx\n```",
    "# <img src=x onerror=alert(1)>",
    "> <iframe src=https://evil.example>",
    "- <b onmouseover=alert(1)>x",
    "&lt;script&gt;alert(1)&lt;/script&gt;",
    "&#60;script&#62;alert(1)&#60;/script&#62;",
    "\\<script>alert(1)\\</script>",
    "<scr<script>ipt>alert(1)</scr</script>ipt>",
    "**<script>**alert(1)**</script>**",
    "<x y='`'>`<img src=x onerror=alert(1)>`",
)  # fmt: skip


class Elements(HTMLParser):
    """Notes what a browser would build from HTML, and whether all of it is harmless."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.faults: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in TAGS:
            self.faults.append(f"<{tag}>")
        for name, value in attrs:
            if (name, value) == ("rel", REL) and tag == "a":
                continue
            if name not in ATTRIBUTES.get(tag, set()):
                self.faults.append(f"<{tag} {name}>")
            if name == "href" and (value or "").partition(":")[0].lower() not in SCHEMES:
                self.faults.append(f"a link to {value}")
        if tag == "a" and ("rel", REL) not in attrs:
            self.faults.append("a link without rel")

    def handle_comment(self, data: str) -> None:
        self.faults.append(f"a comment: {data}")

    def handle_decl(self, decl: str) -> None:
        self.faults.append(f"a declaration: {decl}")

    def handle_pi(self, data: str) -> None:
        self.faults.append(f"an instruction: {data}")


def test_markdown_becomes_html() -> None:
    for text, html in (
        ("# Title\n## Part", "<h2>Title</h2>\n<h3>Part</h3>\n"),
        ("###### Deep", "<h6>Deep</h6>\n"),
        ("**b** *i* ~~s~~ `c`", "<p><strong>b</strong> <em>i</em> <s>s</s> <code>c</code></p>\n"),
        ("one\ntwo\n\nthree", "<p>one<br>\ntwo</p>\n<p>three</p>\n"),
        ("- a\n- b", "<ul>\n<li>a</li>\n<li>b</li>\n</ul>\n"),
        ("3. c\n4. d", '<ol start="3">\n<li>c</li>\n<li>d</li>\n</ol>\n'),
        ("> q", "<blockquote>\n<p>q</p>\n</blockquote>\n"),
        ("```py\na < b\n```", "<pre><code>a &lt; b\n</code></pre>\n"),
        (f"[a]({URL})", f"<p>{LINK}a</a></p>\n"),
        (f"see {URL}.", f"<p>see {LINK}https://example.org/a_b?c=1&amp;d=2</a>.</p>\n"),
        ("<b>x</b> & y", "<p>&lt;b&gt;x&lt;/b&gt; &amp; y</p>\n"),
        (f"![p]({URL})", f"<p>!{LINK}p</a></p>\n"),
    ):
        assert html_of(text, headings_from=2) == html, text


def test_only_a_whole_url_is_a_link() -> None:
    """Names of files and abbreviations are none; a link that leads nowhere keeps its text."""
    for text in ("setup.py", "e.g.so", "www.example.org", "ada@example.org", "ftp://a.example"):
        assert html_of(text, headings_from=2) == f"<p>{text}</p>\n"
    long = f"http://a{'.a' * 500}"
    assert long in html_of(long, headings_from=2)


def test_hostile_texts_are_harmless() -> None:
    for text in XSS:
        html = html_of(text, headings_from=2)
        assert Elements(html).faults == [], text
        assert "alert(1)" not in html or "alert(1)" in _shown(html), text


def test_either_library_alone_keeps_scripts_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault in one of them is no hole yet."""
    with monkeypatch.context() as without_sanitizer:
        without_sanitizer.setattr(nh3, "clean", lambda html, **_: html)
        for text in XSS:
            html = html_of(text, headings_from=2)
            assert "<script" not in html.lower(), text
            assert 'href="javascript' not in html.lower(), text
    monkeypatch.setattr("blog_service.markdown._RENDERER.render", lambda text, _: text)
    for text in XSS:
        assert Elements(html_of(text, headings_from=2)).faults == [], text


PIECES = st.sampled_from(
    [
        *XSS,
        URL,
        *"<>\"'`*_~[]()!#-+.:\\/&;= \n\t",
        "\n\n",
        "    ",
        "```",
        "](",
        "<a href=",
        "on",
        "x",
    ]
)


@given(st.lists(PIECES | st.text(max_size=5), max_size=30).map("".join))
def test_whatever_is_written_the_result_is_harmless(text: str) -> None:
    html = html_of(text, headings_from=3)
    assert Elements(html).faults == []
    assert "<h1" not in html
    assert "<h2" not in html
    line = excerpt(text)
    assert "\n" not in line
    assert len(line) <= EXCERPT_LENGTH + 2


@pytest.mark.parametrize(
    "piece",
    [
        *("[", "![", "[](", "*_", "a\n", "* a\n", "> ", "&", "<!--", "~~a", "\\"),
        *("http://", "http://a.", "https://[", "https://](", "ftp://[", "a://[", "://"),
        *("//a.b/(", "www.", "mailto:[", "mailto:a@", "a@b.de "),
    ],
)
def test_the_time_does_not_explode_with_a_hostile_text(piece: str) -> None:
    """In seconds of the processor; the slowest of these takes a fifth of a second."""
    pieces = piece * POST_LENGTH_MAX
    after_links = "https://a.b/(" * LINKS_MAX + pieces

    def seconds(text: str) -> float:
        started = time.process_time()
        html_of(text, headings_from=2)
        excerpt(text)
        return time.process_time() - started

    for text in (pieces[:POST_LENGTH_MAX], after_links[:POST_LENGTH_MAX]):
        assert min(seconds(text) for _ in range(3)) < 0.5


def test_urls_become_links_up_to_a_number() -> None:
    """Beyond it only those that are marked as links."""
    marked = f"[a]({URL}) <{URL}>"
    for bare, links in ((LINKS_MAX - 2, LINKS_MAX), (LINKS_MAX - 1, 2)):
        html = html_of(f"{URL} " * bare + marked, headings_from=2)
        assert html.count("<a href=") == links


def test_an_excerpt_is_one_line_without_marks() -> None:
    for text, line in (
        ("# Title\n\nSome **bold** and *soft* `code`.", "Title Some bold and soft code."),
        (f"- [a]({URL})\n- ![b]({URL} 'c')\n> 1. q", "a b q"),
        ("```py\nx = 2*3\n```\n---\nsnake_case_name", "x = 2*3 snake_case_name"),
        (r"\# no \*marks\*", "# no *marks*"),
    ):
        assert excerpt(text) == line
    assert excerpt("word " * 300) == f"{'word ' * 55}word\u00a0…"
    assert excerpt("x" * 20_000) == f"{'x' * EXCERPT_LENGTH}\u00a0…"


class _Text(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.data: list[str] = []

    def handle_data(self, data: str) -> None:
        self.data.append(data)


def _shown(html: str) -> str:
    """Return the text of HTML, and the addresses of its links."""
    parser = _Text()
    parser.feed(html)
    parser.close()
    return "".join(parser.data)
