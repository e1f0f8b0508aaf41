"""The settings of Sphinx. SPDX-License-Identifier: MIT"""
import re
import sys
from pathlib import Path

here = Path(__file__).resolve().parent
sys.path.insert(0, str(here / "_ext"))

import pages  # noqa: E402, of _ext

version = ".".join(re.findall(
    r"define KOLK_VERSION_(?:MAJOR|MINOR|PATCH) (\d+)",
    (pages.INCLUDE / "base.h").read_text(encoding="utf-8")))
release = version
project = "kolk"
copyright = "2026, the kolk authors"

extensions = ["both", "pages"]
exclude_patterns = ["_ext"]
primary_domain = "c"
highlight_language = "c"
nitpicky = True  # each name that the text links to has to exist
nitpick_ignore_regex = [("c:identifier", "(?!kolk).*")]

html_theme = "alabaster"
html_theme_options = {"description": "asyncio, in C", "fixed_sidebar": True,
                      "page_width": "1500px", "body_max_width": "1240px"}
html_show_sourcelink = False
html_copy_source = False
smartquotes = False

man_make_section_directory = True
man_pages = [("guide", "kolk", "a first hour with kolk", "", 7)]
man_pages += pages.man_pages()
