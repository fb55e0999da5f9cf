"""Score: Half-Space Trees, directional evidence, and their combination."""

from operators.score.evidence import Evidence
from operators.score.forest import Forest
from operators.score.gate import GateConfig
from operators.score.stage import Score, ScoreConfig
from operators.score.table import Table, TableConfig, TableScores

__all__ = ["Evidence", "Forest", "GateConfig", "Score", "ScoreConfig", "Table", "TableConfig", "TableScores"]
