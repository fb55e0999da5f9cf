"""Score: Half-Space Trees, directional evidence, and their combination."""

from operators.score.evidence import Evidence
from operators.score.forest import Forest
from operators.score.stage import Score, ScoreConfig

__all__ = ["Evidence", "Forest", "Score", "ScoreConfig"]
