"""both.py - Python and C side by side.

SPDX-License-Identifier: MIT

The directive

    .. both:: gather

shows what stands between two comments [gather] in from_asyncio.py, and beside
it what stands there in from_asyncio.c or from_asyncio_net.c.
"""
from pathlib import Path

from docutils import nodes
from docutils.parsers.rst import Directive

DOCS = Path(__file__).resolve().parents[1]
LEFT = ("from_asyncio.py",)
RIGHT = ("from_asyncio.c", "from_asyncio_net.c")


STYLE = """<style>
table.both td { vertical-align: top; padding: 2px 6px; }
table.both pre { font-size: 13px; margin: 0; padding: 4px 0; }
</style>"""


def piece(names, name):
    """What stands between the marks `name` in one of the files."""
    for path in (DOCS / file for file in names):
        text = path.read_text(encoding="utf-8")
        mark = f"# [{name}]" if path.suffix == ".py" else f"/* [{name}] */"
        parts = text.split(mark + "\n")
        if len(parts) == 3:
            return parts[1].strip("\n")
    raise ValueError(f"no piece of code is named {name}")


def column(language, text):
    entry = nodes.entry()
    entry += nodes.literal_block(text, text, language=language)
    return entry


class BothDirective(Directive):
    """`.. both:: name`"""

    required_arguments = 1

    def run(self):
        env = self.state.document.settings.env
        for file in LEFT + RIGHT:
            env.note_dependency(str(DOCS / file))
        name = self.arguments[0]
        table = nodes.table(classes=["both"])
        group = nodes.tgroup(cols=2)
        group += nodes.colspec(colwidth=45)
        group += nodes.colspec(colwidth=55)
        row = nodes.row()
        row += column("python", piece(LEFT, name))
        row += column("c", piece(RIGHT, name))
        body = nodes.tbody()
        body += row
        group += body
        table += group
        return [table]


def add_style(app, page, template, context, doctree):
    context["metatags"] = context.get("metatags", "") + STYLE


def setup(app):
    app.add_directive("both", BothDirective)
    app.connect("html-page-context", add_style)
    return {"version": "1", "parallel_read_safe": True}
