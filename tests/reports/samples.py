"""Records with a given text in every place that takes one."""

from core.records import Estimate
from reports.records import (
    ArmReport,
    ComparisonReport,
    ComparisonRun,
    ComparisonTable,
    CurvePoint,
    Duel,
    DuelLine,
    Example,
    Gallery,
    GalleryRow,
    GroupLine,
    LevelLine,
    PairLine,
    PhraseLine,
    Picture,
    Ranking,
    RoundPoint,
    RunReport,
    Shot,
    TestLine,
    Verdict,
    WatchedLine,
)

GAIN = Estimate(0.0633, (0.0486, 0.0786), 40)
UNCLEAR = Estimate(0.001, (-0.01, 0.012), 24)


def a_gallery(text: str) -> Gallery:
    picture = Picture("data:image/webp;base64,AAAA", 64, 64)
    shots = (Shot(text, text, picture, 0.7), Shot(text, problem=text))
    return Gallery((text, text), (GalleryRow(text, text, 7, shots),), text)


def a_run(text: str) -> RunReport:
    """Return a finished run's report with a text everywhere."""
    ours, theirs = a_gallery(text).rows[0].shots
    example = Example(text, 7, 3, 0.1, ours, theirs)
    return RunReport(
        name=text,
        status=text,
        verdict=Verdict(text, (text,), "better"),
        scorer=text,
        scale=100,
        best="r1c0",
        best_text=text,
        missing=(text,),
        warnings=(text,),
        test=(TestLine(text, 0.7, 1, GAIN), TestLine(text, 0.8, 0)),
        validation=UNCLEAR,
        groups=(GroupLine(text, GAIN), GroupLine("photo", UNCLEAR)),
        gallery=a_gallery(text),
        duels=(Duel(text, text, (DuelLine(text, 120, GAIN, 30, 1, 9),), text, (example,), ()),),
        phrases=(PhraseLine(text, 9, 2, 40),),
        rounds=(RoundPoint(1, 100, text, UNCLEAR, GAIN), RoundPoint(2, 200, text, GAIN, GAIN)),
        arms=(
            ArmReport("r0c0", "", "initial", 3, 24, UNCLEAR, None, False, True, True, text, ""),
            ArmReport("r1c0", "r0c0", "modifier", 1, 8, GAIN, GAIN, True, True, False, text + text, text),
            ArmReport("r1c1", "r0c0", "modifier", 0, 0, None, None, False, False, False, text, text),
        ),
        watched=(WatchedLine(text, 1, 1.0, 2.0, GAIN),),
        cost=text,
        ledger=((text, text),),
        failures={text: 3},
        circumstances=((text, text),),
        commands=((text, text),),
    )


def a_comparison(text: str) -> ComparisonReport:
    """Return a comparison's report with a text everywhere."""
    level = LevelLine(text, 3, GAIN, 0.01, 120.0, True, 2, 200.0, 60.0, (GroupLine(text, GAIN),))
    other = LevelLine("greedy", 3, None)
    table = ComparisonTable(
        unit="policy",
        levels=(level, other),
        pairs=(PairLine(text, "greedy", UNCLEAR, 0.4),),
        pairs_note=text,
        curves={text: (CurvePoint(1, 0.1, 0.0, 0.2), CurvePoint(9, 0.2, 0.1, 0.3))},
        curves_note=text,
        ranking=Ranking({text: 1.2, "greedy": 1.8}, ((text, "greedy"),), text),
    )
    return ComparisonReport(
        name=text,
        verdict=Verdict(text, (text,), "unclear"),
        scale=100,
        tables=(table,),
        runs=(ComparisonRun(text, text, 3, text, text, None, 99),),
        gallery=a_gallery(text),
        warnings=(text,),
        commands=((text, text),),
    )
