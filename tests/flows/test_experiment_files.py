"""Experiments in TOML: what a file becomes, and that all its mistakes are told at once."""

import msgspec
import pytest

from experiments.assigner import Assigner, allocations
from experiments.assignment import moves
from flows import experiment_files
from flows.experiment_changes import FROZEN
from flows.experiment_files import ExperimentError, load_experiment, load_experiments
from schemas.definition import Definition, Guardrail, Metric, Phase

HEAD = """
id = "x"
variations = ["a", "b", "c"]
attribution_window_s = 60
minimum_run_s = 0
mde = 0.1
"""
PHASE = """
[[phases]]
start = 2026-01-01T01:00:00+01:00
"""
PRIMARY = """
[primary]
name = "m"
kind = "mean"
event = "e"
"""
JANUARY = 1_767_225_600_000


@pytest.fixture
def written(tmp_path):
    def write(text, name="x.toml"):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write


def mistakes(path):
    with pytest.raises(ExperimentError) as refused:
        load_experiment(path)
    return [line.removeprefix(f"{path}: ") for line in refused.value.mistakes]


def test_what_is_left_out_has_the_documented_defaults(written):
    one = load_experiment(written(HEAD + PHASE + PRIMARY))

    assert one == Definition(
        id="x",
        version=1,
        timestamp=0,
        seed="x",
        variations=("a", "b", "c"),
        phases=(Phase(start=JANUARY, coverage=1.0, weights=(1 / 3, 1 / 3, 1 / 3)),),
        primary=Metric(name="m", kind="mean", event="e"),
        alpha=0.05,
        tuning_n=5_000,
        attribution_window_s=60,
        minimum_run_s=0,
        mde=0.1,
        cuped=True,
    )


def test_the_example_is_read_whole_and_survives_the_wire(repository):
    one = load_experiment(repository / "examples" / "experiment.toml")

    assert one.primary.where == {"country": ("DE", "AT")}
    assert (one.namespace, one.namespace_first, one.namespace_end) == ("checkout", 0.0, 0.5)
    assert [phase.coverage for phase in one.phases] == [0.1, 1.0]
    assert one.guardrails == (
        Guardrail(
            metric=Metric(name="refunds", kind="proportion", event="refund", better="down"),
            margin=0.002,
            margin_of="absolute",
        ),
    )
    assert msgspec.json.decode(msgspec.json.encode(one), type=Definition) == one


def test_a_single_value_of_where_is_a_list_of_one(written):
    one = load_experiment(written(HEAD + PHASE + PRIMARY + "where = {gift = true, n = [1, 2.5]}"))
    assert one.primary.where == {"gift": (True,), "n": (1, 2.5)}


def test_all_mistakes_are_told_at_once_with_expected_got_and_where(written):
    text = """
id = "a b"
variations = ["a", "a"]
minimum_runs_s = 3
alpha = 2
attribution_window_s = inf
mde = 0.1
end = 2026-01-01
[[phases]]
start = 2026-01-01T00:00:00
weights = [0.5, 0.6]
wieghts = 1
[[phases]]
start = 12
weights = [0.5]
[primary]
name = "x"
kind = "proportion"
event = ""
value = "q"
where = {a = {}}
[[secondary]]
name = "x"
kind = "ratio"
event = "e"
[[guardrails]]
name = "g"
kind = "meen"
event = "e"
[namespace]
name = "n"
first = 0.5
end = 0.5
"""
    time = "expected a time with its offset, such as 2026-01-31T12:00:00Z"
    assert mistakes(written(text)) == [
        "alpha: expected a number > 0 and < 1, got 2",
        "attribution_window_s: expected an integer >= 1 and <= 3153600000, got Infinity",
        f'end: {time}, got "2026-01-01"',
        'guardrails[0].kind: expected one of "mean", "proportion", "ratio", got "meen"',
        "guardrails[0].margin: expected a number >= 0, got nothing",
        'id: expected a string matching ^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$, got "a b"',
        "minimum_run_s: expected an integer >= 0 and <= 3153600000, got nothing",
        "minimum_runs_s: no such setting; did you mean minimum_run_s?",
        "namespace.end: expected > first, 0.5, got 0.5",
        f'phases[0].start: {time}, got "2026-01-01 00:00:00"',
        "phases[0].weights: expected a sum of 1, got 1.1",
        "phases[0].wieghts: no such setting; did you mean weights?",
        f"phases[1].start: {time}, got 12",
        "phases[1].weights: expected one for each of 2 variations, got 1",
        'primary.event: expected a string of length >= 1, got ""',
        "primary.value: a proportion has none",
        "primary.where.a: expected a string, a number, true or false, or a list of these, got something else",
        'secondary[0]: a ratio needs what to divide by: set "denominator" or "denominator_event"',
        "secondary[0].name: expected another for each metric, got x again",
        "variations: expected each once, got a again",
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (HEAD.replace('"b", "c"', "") + PHASE + PRIMARY, "variations: expected at least two, got 1"),
        ("phases = []\n" + HEAD + PRIMARY, "phases: expected at least one, got none"),
        (
            HEAD + PHASE + PHASE + PRIMARY,
            "phases[1].start: expected later than the phase before, 2026-01-01T00:00:00Z, got 2026-01-01T00:00:00Z",
        ),
        (
            "end = 2026-01-01T00:00:00Z\n" + HEAD + PHASE + PRIMARY,
            "phases[0].start: expected before the end, 2026-01-01T00:00:00Z, got 2026-01-01T00:00:00Z",
        ),
        (
            HEAD + PHASE.replace("2026", "1969") + PRIMARY,
            "phases[0].start: expected a time from 1970 on, got 1969-01-01T00:00:00Z",
        ),
        (HEAD + PHASE + PRIMARY + 'denominator = "d"', "primary.denominator: a mean has none"),
        (HEAD + PHASE + PRIMARY.replace("mean", "proportion") + "cap = 1", "primary.cap: a proportion has none"),
        (HEAD + PHASE + PRIMARY + "where = {a = inf}", "primary.where.a: expected a string, a number,"),
        (HEAD + PHASE + PRIMARY + "where = {a = []}", "primary.where.a: expected a string, a number,"),
        (
            HEAD + PHASE + PRIMARY.replace('name = "m"', 'name = "tidegate.risk"'),
            "primary.name: expected another, tidegate.risk is Tidegate's own",
        ),
        (
            HEAD + "".join(PHASE.replace("2026", str(2026 + at)) for at in range(84)) + PRIMARY,
            "expected at most 500 metrics x phases x variations, got 504",
        ),
        (HEAD.replace("0.1", "inf") + PHASE + PRIMARY, "mde: expected a number > 0, got Infinity"),
        ("id = 1 =", "expected TOML: "),
    ],
)
def test_a_mistake_is_told(written, text, told):
    (line,) = mistakes(written(text))
    assert line.startswith(told)


def test_mistakes_of_several_files_come_together_each_with_its_file(written, tmp_path):
    good, bad = written(HEAD + PHASE + PRIMARY), written("mde = 0\n" + HEAD.replace("mde", "md"), "bad.toml")
    again, missing = written(HEAD + PHASE + PRIMARY, "again.toml"), tmp_path / "missing.toml"
    with pytest.raises(ExperimentError) as refused:
        load_experiments([good, bad, again, missing])

    lines = refused.value.mistakes
    assert f"{bad}: mde: expected a number > 0, got 0" in lines
    assert f"{again}: id: expected another for each file, got x, as in {good}" in lines
    assert f"{missing}: cannot be read: No such file or directory" in lines


def test_the_page_names_every_key(repository):
    text = (repository / "docs" / "experiments.md").read_text(encoding="utf-8")
    models = (
        experiment_files.Experiment,
        experiment_files.Phase,
        experiment_files.Guardrail,
        experiment_files.Namespace,
    )
    tables = {"namespace": "`[namespace]`", "primary": "`[primary]`"}
    tables |= {name: f"`[[{name}]]`" for name in ("phases", "secondary", "guardrails")}

    keys = [tables.get(name, f"`{name}`") for model in models for name in model.model_fields]
    assert [key for key in keys if key not in text] == []
    assert [key for key in FROZEN if f"`{key.removesuffix('_first').removesuffix('_end')}`" not in text] == []


def test_the_moves_that_the_page_tells_are_those_that_happen():
    def phases(*each):
        return tuple(Phase(start=at, coverage=coverage, weights=weights) for at, (coverage, weights) in enumerate(each))

    third, half = (1 / 3,) * 3, (0.5, 0.5)
    changes = [
        phases((0.1, half), (1.0, half)),
        phases((0.1, (0.9, 0.1)), (1.0, half)),
        phases((1.0, third), (1.0, (0.5, 0.25, 0.25))),
        phases((1.0, half), (1.0, (0.8, 0.2))),
    ]
    assert [tuple(moves(*allocations(each))) for each in changes] == [
        (0, 0, 9_000),
        (0, 0, 9_000),
        (1_666, 0, 0),
        (3_000, 0, 0),
    ]


def test_the_function_answers_as_the_page_says(repository):
    assign = Assigner(load_experiment(repository / "examples" / "experiment.toml"))
    assert assign("ada", at_ms=1_799_700_000_000)[:2] == ("control", 1)


RAMPS = {
    "coverage alone": ("0.1|0.5,0.5", "1.0|0.5,0.5", True),
    "equal weights left out and given": ("0.1|", "1.0|0.5,0.5", True),
    "weights once all are in": ("1.0|0.9,0.1", "1.0|0.5,0.5", True),
    "weights with the coverage": ("0.1|0.9,0.1", "1.0|0.5,0.5", False),
    "weights while not all are in": ("0.5|0.9,0.1", "0.5|0.5,0.5", False),
    "weights, then fewer": ("1.0|0.9,0.1", "0.5|0.5,0.5", False),
    "a variation is taken out": ("0.5|0.5,0.5", "0.5|1.0,0.0", True),
    "a variation joins": ("0.5|1.0,0.0", "0.5|0.5,0.5", False),
}


@pytest.mark.parametrize(("before", "after", "good"), RAMPS.values(), ids=RAMPS)
def test_weights_stay_as_long_as_not_all_units_are_in(tmp_path, before, after, good):
    """Who was in does not count again, so of a growing variation all that are new would be counted, of others few."""
    phases = ""
    for day, each in enumerate((before, after), 1):
        coverage, _, weights = each.partition("|")
        phases += f"[[phases]]\nstart = 2026-01-0{day}T00:00:00Z\ncoverage = {coverage}\n"
        phases += f"weights = [{weights}]\n" if weights else ""
    path = tmp_path / "ramp.toml"
    path.write_text(
        'id = "ramp"\nvariations = ["a", "b"]\nattribution_window_s = 60\nminimum_run_s = 0\nmde = 0.1\n'
        f'{phases}[primary]\nname = "x"\nkind = "proportion"\nevent = "e"\n'
    )
    if good:
        assert load_experiment(path).id == "ramp"
    else:
        with pytest.raises(ExperimentError, match=r"phases\[1\].weights: expected the weights of the phase before"):
            load_experiment(path)
