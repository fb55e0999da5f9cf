"""The names of declared features, checked against one another and against those that are built in.

On the draft and not on the settings: a clash is told beside the other mistakes of the same file.
"""

from flows.configuration import Draft
from operators.featurize import FeaturizeConfig, taken_names
from operators.own_feature import clashes


def check_names(draft: Draft, featurize: FeaturizeConfig) -> None:
    """Note declared features that cannot have their name or family.

    Args:
        draft: its mistakes are added to.
        featurize: says for which windows features are built in.
    """
    risk = draft.data.get("risk")
    tables = risk.get("features") if isinstance(risk, dict) else None
    if not isinstance(tables, list):
        return
    taken = taken_names(featurize.windows_s)
    named = [(place, table) for place, table in enumerate(tables) if isinstance(table, dict)]
    names = [(place, table["name"]) for place, table in named if isinstance(table.get("name"), str)]
    for at, text in clashes([name for _, name in names], taken):
        draft.add(("risk", "features", names[at][0], "name"), text)
    for place, table in named:
        if table.get("family") in taken:
            text = f"expected another family, got {table['family']!r}, which is a feature or family that is built in"
            draft.add(("risk", "features", place, "family"), text)
