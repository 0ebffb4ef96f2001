"""One statement about a run that has not begun: what is wrong, in which files, what cures it."""

from collections.abc import Iterable
from dataclasses import dataclass, field

ERROR, WARNING, NOTE = 'error', 'warning', 'note'
LEVELS = (ERROR, WARNING, NOTE)


@dataclass
class Finding:
    """An error stops training, a warning spoils it, a note is good to know.

    text: what is wrong and what to do.
    files: messages of the files it is about, each beginning with a path.
    options: settings that cure it, as typed behind ``--cfg-options``.
    pictures: image files that show it.
    """

    level: str
    text: str
    files: list[str] = field(default_factory=list)
    options: list[str] = field(default_factory=list)
    pictures: list[str] = field(default_factory=list)

    @property
    def sentence(self) -> str:
        """The text with its cure."""
        if not self.options:
            return self.text
        return f'{self.text} Add: --cfg-options {" ".join(self.options)}'


def by_level(findings: Iterable[Finding]) -> list[Finding]:
    """Errors first, in the order found."""
    return sorted(findings, key=lambda finding: LEVELS.index(finding.level))
