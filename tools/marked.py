"""Parts of a document that a tool writes, between marks that say which tool and which part."""

from pathlib import Path

from fer_edge.devices.files import replacing_file

END = "<!-- end -->"


def begin(tool: str, part: str = "begin") -> str:
    """The mark before a part."""
    return f"<!-- tools/{tool}.py: {part} -->"


def marked(text: str, mark: str, made: str) -> str:
    """The text with `made` between a mark and the next end; a document that lacks them ends the tool."""
    if text.count(mark) != 1 or END not in text.split(mark)[1]:
        raise SystemExit(f"the document needs one line {mark} and an {END} after it")
    before, rest = text.split(mark)
    after = rest.split(END, 1)[1]
    return f"{before}{mark}\n{made}\n{END}{after}"


def write(path: Path, parts: dict[str, str]) -> None:
    """Put each part behind its mark, whole or not at all."""
    text = path.read_text(encoding="utf-8")
    for mark, made in parts.items():
        text = marked(text, mark, made)
    with replacing_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
