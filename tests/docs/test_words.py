"""The words of the project: terms of the field in plain sentences, in code and docs (docs/conventions.md)."""

import ast
import json
import re
from bisect import bisect
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CODE = ("dualsr_geo", "plugins", "examples")
KINDS = {".py", ".md", ".ipynb", ".html", ".js", ".css", ".toml", ".txt", ".yaml", ".yml"}
NO_PROSE = {"constraints.txt"}

# Each banned word, as a regular expression for a whole word, and what to write instead.
BANNED = {
    r"told": "given, or the noun",
    r"asked": "requested, or the noun",
    r"said": "stated, reported, or the noun",
    r"seen": "observed, or the noun",
    r"amid": "among, inside",
    r"mend(?:s|ed|ing)?": "correct, repair",
    r"anew": "again",
    r"doubt(?:s|ed|ful|ing)?": "uncertainty",
    r"certainty": "standard error",
    r"believ(?:e|es|ed|ing)": "accept, use",
    r"lie|lies|lying": "is, are",
    r"alone|lone": "unguided, only",
    r"beside": "next to, with",
    r"gate|gates|gated": "shrinkage",
    r"lessons?": "training task",
    r"courses?": "training configuration",
    r"study|studies|studied": "training, or the noun",
    r"plates?": "figure",
    r"agendas?": "tasks",
    r"ledgers?": "journal",
    r"exhibits?": "report data",
    r"rehears(?:al|als|e|ed|es)": "fine-stage trial",
    r"wishes": "options",
    r"bent": "warped, displaced",
    r"made(?:-|\s)up": "synthetic",
    r"somebody\selse(?:'s)?": "third-party",
    r"has\sthe\slast\sword": "takes precedence",
    r"lineage": "provenance",
    r"of\s(?:#\s)?it": "name the thing",
    r"by\swhat(?:\s\w+){1,4}\ssays?": "name the source",
}

# What is allowed: a pattern that is taken out before the search, the files where it may stand, and the reason.
ALLOWED: tuple[tuple[str, str, str], ...] = (
    (r"--alone\b", r"", "a flag of `dualsr-geo batch`; users type it"),
    (r"[\"'`]alone[\"'`]", r"", "id of a network in weight cards and `--network`, key of JSON and provenance"),
    (r"alone\|guided|guided\|alone|guided or alone", r"", "the same id in a command line or a help text"),
    (r"[a-z]-alone\b", r"fixed_set\.py$", "names of products in manifests of older versions"),
    (r"\"said\"|\['said'\]", r"", "key of a sensor's sentence in JSON, and of manifests of older versions"),
    (r"[\"'`]lineage[\"'`]", r"", "key of the provenance in products; readers of older products know it"),
    (r"[\"'`]gated[\"'`]", r"", "key of the identity of `auto` and `learned` in provenance"),
    (r"self\.told\b", r"networks/guided\.py$", "name of a tensor in the shipped weights, whose hash is part of a run"),
    (r"[\"'`]doubted[\"'`]", r"", "key of a tile's done mark on disk"),
    (r"processing:lineage", r"", "a property of STAC's extension"),
    (r"(?m)^\| `.*\|$", r"^CHANGELOG\.md$", "the table of old names and new ones"),
)

# Names of variables that say in which tense a value came to be, or that name no quantity.
VARIABLES = {"found", "made", "known", "said", "seen", "asked", "held", "there", "kept", "told", "wishes"}
CONSTANTS = {"MOST", "FEW", "FEWEST", "USUAL", "LEAST", "DOUBT", "SPREAD", "ENOUGH"}


def pages():
    """Return every file whose words are checked."""
    places = [
        *sorted(ROOT.glob("*.md")),
        *sorted((ROOT / "paper").glob("*.md")),
        ROOT / "mkdocs.yml",
        ROOT / "pyproject.toml",
    ]
    places += [p for folder in (*CODE, "docs", "packaging") for p in sorted((ROOT / folder).rglob("*")) if p.is_file()]
    return [p for p in places if p.suffix in KINDS and p.name not in NO_PROSE and "__pycache__" not in p.parts]


def text_of(path):
    """Return what a page contains; of a notebook the sources of its cells."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".ipynb":
        return text
    return "\n".join("".join(cell["source"]) for cell in json.loads(text)["cells"])


def pattern_of(word):
    """Return the pattern of a word that stands by itself, or in snake_case or CamelCase."""
    start, end = r"(?:(?<![A-Za-z0-9])|(?<=[a-z0-9])(?=[A-Z]))", r"(?:(?![A-Za-z0-9])|(?<=[a-z])(?=[A-Z]))"
    return re.compile(rf"{start}(?i:{word.replace(chr(92) + 's', chr(92) + 's+')}){end}")


PATTERNS = {pattern_of(word): instead for word, instead in BANNED.items()}


def banned(text, name="", allowed=ALLOWED):
    """Return (line, word, instead) of every banned word."""
    for pattern, files, _ in allowed:
        if re.search(files, name):
            text = re.sub(pattern, lambda m: re.sub(r"\S", "-", m[0]), text)
    # Of the same length: phrases go on in the next line, also of a comment.
    words = re.sub(r"\n[ ]*(?:#|>)?", lambda m: " " * len(m[0]), text.replace("_", " "))
    ends = [m.start() for m in re.finditer(r"\n", text)]
    hits = sorted((m.start(), m[0], instead) for p, instead in PATTERNS.items() for m in p.finditer(words))
    return [(bisect(ends, at) + 1, word, instead) for at, word, instead in hits]


def variables(tree):
    """Return (line, name) of every variable, argument or constant with a name that says nothing."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and node.id in VARIABLES | CONSTANTS:
            yield node.lineno, node.id
        if isinstance(node, ast.arg) and node.arg in VARIABLES:
            yield node.lineno, node.arg


@pytest.mark.parametrize("path", pages(), ids=lambda p: str(p.relative_to(ROOT)))
def test_words_are_terms_of_the_field(path):
    name = str(path.relative_to(ROOT))
    hits = [f"{name}:{line}: `{word}`, write: {instead}" for line, word, instead in banned(text_of(path), name)]
    assert not hits, "\n".join(hits)


@pytest.mark.parametrize("path", sorted((ROOT / "dualsr_geo").rglob("*.py")), ids=lambda p: str(p.relative_to(ROOT)))
def test_variables_name_what_they_hold(path):
    hits = [f"{path}:{line}: `{name}`" for line, name in variables(ast.parse(path.read_text()))]
    assert not hits, "\n".join(hits)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("What the scene told us", ["told"]),
        ("class AloneLesson:", ["Alone", "Lesson"]),
        ("a_lone_gate = 1", ["lone", "gate"]),
        ("GATE = 1  # the Ledger", ["GATE", "Ledger"]),
        ("the half of\n    # it", ["of it"]),
        ("decided by what the scene itself says", ["by what the scene itself says"]),
        ("navigate, alonement, aggregated, belief, template, credit of items, untold", []),
    ],
)
def test_a_banned_word_is_found(text, words):
    assert [re.sub(r"\s+", " ", word) for _, word, _ in banned(text, allowed=())] == words


def test_what_is_allowed_is_found_somewhere_and_has_a_reason():
    for pattern, files, reason in ALLOWED:
        places = [p for p in pages() if re.search(files, str(p.relative_to(ROOT)))]
        assert any(re.search(pattern, text_of(p)) for p in places), pattern
        assert len(reason.split()) > 3, pattern


def test_a_variable_without_a_noun_is_found():
    assert [name for _, name in variables(ast.parse("made = MOST = 1\ndef f(told, *, asked): ..."))] == [
        "made",
        "MOST",
        "told",
        "asked",
    ]
