"""header.py - reads a public header as its manual page.

SPDX-License-Identifier: MIT

A header is written to be read from top to bottom, so its page follows it line
by line: the opening comment is the introduction, `/* ---- name ---- */` begins
a section, and the comment above a declaration is its text. Declarations that
follow one another without a blank line share the comment of the first. Names
with two underscores behind the prefix, and fields marked private, are left
out.

This is no parser of C. It knows the manner of these headers, and raises on a
line that it does not know rather than leave something out in silence.
"""
import re
from dataclasses import dataclass, field


@dataclass
class Member:
    """A field of a struct or a constant of an enum."""

    declaration: str
    text: str


@dataclass
class Entry:
    """One declaration; `kind` is a directive of Sphinx's C domain."""

    kind: str
    declaration: str
    name: str
    members: list = field(default_factory=list)


@dataclass
class Group:
    """What stands under one comment; may have no entries."""

    text: str
    entries: list
    section: str = ""


@dataclass
class Header:
    """A header, read."""

    summary: str
    text: str
    groups: list

    def names(self):
        """Every name that has an entry of its own."""
        for group in self.groups:
            for entry in group.entries:
                if entry.name:
                    yield entry.name
                if entry.kind in ("enum", "enumerator"):
                    for member in entry.members:
                        yield member.declaration.split()[0]


class HeaderError(Exception):
    """A line that the reader does not know."""


PLUMBING = re.compile(r'#pragma|#include|#ifdef|#ifndef|#endif|extern "C"|}$')
SECTION = re.compile(r"----+ (.*?) ----+\s*")
QUALIFIERS = re.compile(r"\b(KOLK_API|KOLK_MUST_CHECK|static inline|extern)\b *")
ATTRIBUTE = re.compile(r"__attribute__\(\(.*?\)\)+ *")


def comment_text(lines):
    """The text inside a comment."""
    lines = [re.sub(r"^\s*(/\*+|\*(?!/)) ?", "", line) for line in lines]
    lines[-1] = re.sub(r"\s*\*/\s*$", "", lines[-1])
    return "\n".join(lines).strip("\n")


def one_line(text):
    return re.sub(r"\s+", " ", text).strip()


class Lines:
    """The lines of a header, read from the first to the last."""

    def __init__(self, text):
        self.lines = text.split("\n")
        self.at = 0

    def is_left(self):
        return self.at < len(self.lines)

    def peek(self):
        return self.lines[self.at].strip()

    def take(self):
        self.at += 1
        return self.lines[self.at - 1]

    def take_until(self, is_last):
        """Takes lines up to the first that `is_last`, which is taken too."""
        taken = [self.take()]
        while not is_last(taken[-1]):
            taken.append(self.take())
        return taken

    def take_comment(self):
        return comment_text(self.take_until(lambda line: "*/" in line))


def read_members(lines, end):
    """Fields or constants, up to the closing brace, whose line is taken; `end`
    is what ends each."""
    members, above = [], ""
    while not lines.peek().startswith("}"):
        line = lines.peek()
        if line.startswith("/* private to"):
            lines.take_until(lambda line: line.startswith("}"))
            return members
        if line.startswith("/*"):
            above = lines.take_comment()
        elif not line:
            lines.take()
            above = ""
        else:
            member = read_member(lines, above, end)
            above = ""
            if not member.text.startswith("private"):
                members.append(member)
    lines.take()
    return members


def read_member(lines, above, end):
    """One field or constant, with the comment above it or beside it."""
    code, text = "", above
    while not code.rstrip().endswith(end):
        line = lines.take()
        before, slashes, comment = line.partition("/*")
        code += before + " "
        if slashes:
            rest = [slashes + comment]
            while "*/" not in rest[-1]:
                rest.append(lines.take())
            text = comment_text(rest)
        if lines.peek().startswith("}"):
            break  # the last constant may have no comma
    return Member(one_line(code).removesuffix(end).rstrip(), text)


def read_type(lines):
    """A struct, a union or an enum with its members, or a typedef."""
    first = lines.peek()
    match = re.match(r"(typedef )?(struct|union|enum)( \w+)? {", first)
    if match is None:
        return read_typedef(one_line(" ".join(
            lines.take_until(lambda line: line.rstrip().endswith(";")))))
    if first.endswith("};"):  # all on one line
        words = lines.take().split("{")[1].split("}")[0].split(",")
        members = [Member(one_line(word), "") for word in words]
    else:
        lines.take()
        members = read_members(lines, "," if match.group(2) == "enum" else ";")
    name = (match.group(3) or "").strip()
    if not name:
        return Entry("enumerator", "", "", members)
    return Entry(match.group(2), name, name, members)


def read_typedef(code):
    """A type without a body: opaque, a function's, or another name."""
    opaque = re.match(r"typedef struct (\w+) (\w+);", code)
    if opaque:
        return Entry("type", opaque.group(2), opaque.group(2))
    code = code.removeprefix("typedef ").rstrip(";")
    function = re.search(r"(\w+)\(", code)
    name = function.group(1) if function else code.split()[-1]
    return Entry("type", code, name)


def read_macro(lines):
    code = " ".join(line.rstrip("\\") for line in lines.take_until(
        lambda line: not line.endswith("\\")))
    match = re.match(r"#define ((\w+)(\([^)]*\))?)", code)
    return Entry("macro", match.group(1), match.group(2))


def read_function(lines):
    """A function or, if there are no parentheses, a variable."""
    taken = lines.take_until(lambda line: re.search(r"[;{]\s*$", line))
    if taken[-1].strip() == "{":
        lines.take_until(lambda line: line == "}")
    code = re.sub(r"/\*.*?\*/", "", " ".join(taken))
    code = ATTRIBUTE.sub("", QUALIFIERS.sub("", one_line(code)))
    code = re.sub(r"\s*[;{]$", "", code)
    name = re.search(r"(\w+)(\(|$)", code).group(1)
    return Entry("function" if "(" in code else "var", code, name)


def read_declaration(lines):
    line = lines.peek()
    if line.startswith("#define "):
        return read_macro(lines)
    if re.match(r"(typedef|struct|union|enum) ", line):
        return read_type(lines)
    if re.match(r"(KOLK_API|static inline) ", line):
        return read_function(lines)
    raise HeaderError(f"unknown: {line}")


def is_shown(entry):
    """Is it public, and more than a name for what follows?"""
    return not entry.name.lower().startswith("kolk__")


def read_group(lines, text):
    """Declarations, up to a blank line or a comment."""
    entries = []
    while lines.is_left() and lines.peek():
        if lines.peek().startswith("/*") or PLUMBING.match(lines.peek()):
            break
        entries.append(read_declaration(lines))
    return Group(text, [entry for entry in entries if is_shown(entry)])


def read_groups(lines):
    groups, section = [], ""
    while lines.is_left():
        line = lines.peek()
        if not line or PLUMBING.match(line):
            lines.take()
            continue
        text = lines.take_comment() if line.startswith("/*") else ""
        head = SECTION.match(text)
        if head:
            groups.append(Group(text[head.end():].strip("\n"), [],
                                head.group(1)))
        else:
            groups.append(read_group(lines, text))
    return groups


def drop_forward(groups):
    """Leaves out names of structs whose bodies come later."""
    bodies = {entry.name for group in groups for entry in group.entries
              if entry.kind == "struct"}
    for group in groups:
        group.entries = [entry for entry in group.entries
                         if entry.kind != "type" or entry.name not in bodies]
    return [group for group in groups
            if group.entries or group.section
            or (group.text and not group.text.startswith("private"))]


def read_header(path):
    """Reads the header at `path`."""
    lines = Lines(path.read_text(encoding="utf-8"))
    opening = lines.take_comment()
    first, _, rest = opening.partition("\n")
    rest = re.sub(r"^SPDX.*\n?", "", rest, flags=re.M).strip("\n")
    summary = first.partition(" - ")[2].rstrip(".")
    try:
        groups = read_groups(lines)
    except (HeaderError, IndexError) as error:
        raise HeaderError(f"{path}:{lines.at + 1}: {error}") from error
    return Header(summary, rest, drop_forward(groups))
