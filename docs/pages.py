"""The pages of the site that do not lie in docs/, and links that hold in the repository and in the site alike.

mkdocs.yml names this file as a hook of MkDocs. A link is written as it holds in the repository, and rewritten here.
"""

from __future__ import annotations

import logging
import posixpath
import re

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from reference import plugin_pages
from tables import ROOT, conf_keys, role_tables

# Where files of the repository are found in the site; those of docs/ are found at its top.
OUTSIDE = {
    "README.md": "index.md",
    "SECURITY.md": "security.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
}
OUTSIDE |= {str(path.relative_to(ROOT)): f"results/{path.name}" for path in ROOT.glob("bench/results/*.svg")}

# README.md has a table for each role where the site has a page.
ROLES = role_tables()
TABLES = {f"README.md#{role}": f"reference/{role}.md" for role in ROLES}

LINK = re.compile(r"(!?\[[^\]]*\]\()(?![a-z]+:|#|/)([^)\s]+)")
VARIABLES = re.compile(r"<!-- variables: begin -->.*<!-- variables: end -->", re.DOTALL)

# What a browser fetches by itself.
FETCHED = re.compile(r"<(?:script|img|iframe|source|link)\b[^>]*\b(?:src|href)=\"?(?:https?:)?//[^>]*>")

logger = logging.getLogger("mkdocs.hooks.pages")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Puts the roles' pages into the navigation, where it says ROLES."""
    for part in config.nav or []:
        for entry in part.get("Reference", []):
            if entry.get("Variables") == "ROLES":
                entry["Variables"] = [{role: f"reference/{role}.md"} for role in ROLES]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages and pictures from outside docs/, and the reference."""
    for source, place in OUTSIDE.items():
        files.append(File.generated(config, place, abs_src_path=str(ROOT / source)))
    reference = {f"reference/{role}.md": f"# {role}\n\n{table}\n" for role, table in ROLES.items()}
    reference["reference/conf.md"] = f"# The app's keys\n\n{conf_keys()}\n"
    reference |= plugin_pages()
    for place, text in reference.items():
        files.append(File.generated(config, place, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Rewrites a page's links for the site; README.md's table of variables is the reference there."""
    place = page.file.src_uri
    source = {there: here for here, there in OUTSIDE.items()}.get(place, f"docs/{place}")
    if source == "README.md":
        roles = ", ".join(f"[{role}](docs/reference/{role}.md)" for role in ROLES)
        markdown = VARIABLES.sub(f"Each role has a page: {roles}.", markdown)

    def rewritten(link: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(source), link[2]))
        path, mark, anchor = target.partition("#")
        there = TABLES.get(target) or OUTSIDE.get(path, path.removeprefix("docs/")) + mark + anchor
        return link[1] + posixpath.relpath(there, posixpath.dirname(place) or ".")

    return LINK.sub(rewritten, markdown)


def on_post_page(output: str, page: Page, config: MkDocsConfig) -> str:
    """Warns of what a hospital's network would not let a browser fetch."""
    for tag in FETCHED.findall(output):
        logger.warning("%s fetches something from elsewhere: %s", page.file.src_uri, tag)
    return output
