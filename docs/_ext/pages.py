"""pages.py - pages of the manual out of the public headers.

SPDX-License-Identifier: MIT

The directive

    .. header:: loop

stands for the page of kolk/loop.h, title included: it is read anew whenever
the header has changed. For manual pages, each name of a header becomes a link
to the header's page, so that `man kolk_call_soon` finds it.
"""
import re
from pathlib import Path

from docutils.parsers.rst import Directive

from header import read_header

INCLUDE = Path(__file__).resolve().parents[2] / "include" / "kolk"

NAME = re.compile(r"\b(?:kolk|KOLK)_\w+\b(?:\(\))?|\bkolk/(\w+)\.h\b")
CODE = re.compile(r"`([^`]+)`")
NEW_PARAGRAPH = re.compile(r"\n(?=Returns )|\s(?=Cancellation: )")
BULLET = re.compile(r" *- ")


def all_headers():
    """Header by name, in order."""
    return {path.stem: read_header(path)
            for path in sorted(INCLUDE.glob("*.h"))}


class Markup:
    """Turns the plain text of comments into reStructuredText."""

    def __init__(self, names):
        self.names = names

    def link(self, match):
        word = match.group()
        if match.group(1):
            return f":doc:`{word} <{match.group(1)}>`"
        name = word.removesuffix("()")
        if name not in self.names:
            return f"``{word}``"
        return f":c:{'func' if word.endswith('()') else 'expr'}:`{name}`"

    def words(self, text):
        """Text without code: names become links, the rest is as it is."""
        parts, at = [], 0
        for match in NAME.finditer(text):
            parts += [escape(text[at:match.start()]), self.link(match)]
            at = match.end()
        return join_inline(parts + [escape(text[at:])])

    def line(self, text):
        """Text in which `code` stands between backticks."""
        parts = []
        for i, part in enumerate(CODE.split(text)):
            parts.append(f"``{part}``" if i % 2 else self.words(part))
        return join_inline(parts)

    def paragraph(self, text):
        """The lines of one paragraph, list or piece of code."""
        if text.startswith("    "):
            return [".. code-block:: c", ""] + indent(text.split("\n"))
        if BULLET.match(text):
            items = re.split(r"\n(?= *- )", text)
            return [self.item(item) for item in items]
        text = self.line(" ".join(text.split("\n")))
        return [re.sub(r"^Cancellation: ", "**Cancellation:** ", text)]

    def item(self, text):
        text = re.sub(r"\s+", " ", BULLET.sub("", text, count=1))
        return "- " + self.line(text)

    def text(self, text):
        """The lines of a comment, with an empty one behind each paragraph."""
        lines = []
        for paragraph in re.split(r"\n{2,}", NEW_PARAGRAPH.sub("\n\n", text)):
            if paragraph:
                lines += self.paragraph(paragraph) + [""]
        return lines

    def entry(self, directive, declarations, text):
        head = f".. c:{directive}:: "
        lines = [head + declarations[0]]
        lines += [" " * len(head) + other for other in declarations[1:]]
        return lines + [""] + indent(self.text(text))

    def members(self, entry):
        kind = "member" if entry.kind in ("struct", "union") else "enumerator"
        lines = []
        for member in entry.members:
            lines += self.entry(kind, [member.declaration], member.text)
        return lines

    def group(self, group):
        """Declarations of one kind share an entry, others follow it."""
        lines = []
        if group.section:
            title = group.section[0].upper() + group.section[1:]
            lines += [title, "-" * len(title), ""]
        if not group.entries:
            return lines + self.text(group.text)
        text = group.text
        for kind, entries in runs(group.entries):
            if kind == "enumerator":
                lines += self.text(text) + self.members(entries[0])
            else:
                declarations = [entry.declaration for entry in entries]
                lines += self.entry(kind, declarations, text)
                lines += indent(self.members(entries[0]))
            text = ""
        return lines

    def page(self, name, header):
        title = f"kolk/{name}.h - {header.summary}"
        lines = [title, "=" * len(title), "", ".. code-block:: c", "",
                 f"    #include <kolk/{name}.h>", ""]
        lines += self.text(header.text)
        for group in header.groups:
            lines += self.group(group)
        return lines


def runs(entries):
    """Neighbours of one kind that have no members, as (kind, entries)."""
    found = []
    for entry in entries:
        alike = found and found[-1][0] == entry.kind
        if alike and entry.kind in ("function", "macro", "type"):
            found[-1][1].append(entry)
        else:
            found.append((entry.kind, [entry]))
    return found


def indent(lines):
    return ["    " + line if line else line for line in lines]


def escape(text):
    return re.sub(r"([\\*`|])|_(?=\W|$)", lambda match: "\\" + match.group(),
                  text)


def join_inline(parts):
    """Joins text and inline markup, which wants space or punctuation around
    it; where there is none, an escaped space keeps it apart unseen."""
    text = ""
    for part in parts:
        markup = part.startswith((":c:", ":doc:", "``"))
        after = text.endswith("`")
        if part and text and (
                (markup and re.search(r"[^\s(\[{<'\"/:-]$", text))
                or (after and re.match(r"[^\s)\]}>'\"/:;,.!?-]", part))):
            text += "\\ "
        text += part
    return text


class HeaderDirective(Directive):
    """`.. header:: loop`"""

    required_arguments = 1

    def run(self):
        env = self.state.document.settings.env
        name = self.arguments[0]
        path = INCLUDE / f"{name}.h"
        env.note_dependency(str(path))
        headers = all_headers()
        markup = Markup(set().union(*(h.names() for h in headers.values())))
        lines = markup.page(name, headers[name])
        self.state_machine.insert_input(lines, str(path))
        return []


def man_pages():
    """Entries of conf.man_pages: one page per header."""
    return [(f"api/{name}", f"kolk_{name}", header.summary, "", 3)
            for name, header in all_headers().items()]


def link_man_pages(app, error):
    """Makes a page for each name that leads to its header's."""
    if error is not None or app.builder.name != "man":
        return
    for header_name, header in all_headers().items():
        for name in header.names():
            link = Path(app.outdir) / "man3" / f"{name}.3"
            if not link.exists() or link.read_text().startswith(".so "):
                link.write_text(f".so man3/kolk_{header_name}.3\n")


def setup(app):
    app.add_directive("header", HeaderDirective)
    app.connect("build-finished", link_man_pages)
    return {"version": "1", "parallel_read_safe": True}
