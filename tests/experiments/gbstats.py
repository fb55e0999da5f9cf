"""Helpers of the tests of experiments: sums as GrowthBook's gbstats writes them, in our columns."""

from experiments.sums import PAIRS, Sums


def arms(*rows):
    """Return the moments of arms, each given as sums by name: n, y, yy, yx and so on; absent, d and w are 1, x is 0."""
    sums = Sums((len(rows),))
    for arm, row in enumerate(rows):
        ones = {"d": row["n"], "w": row["n"], "dd": row["n"], "ww": row["n"], "dw": row["n"]}
        x = row.get("x", 0.0)
        absent = ones | {"x": x, "xx": 0.0, "yx": 0.0, "dx": x, "xw": x, "yd": row["y"], "yw": row["y"]}
        given = absent | row
        names = ["n", *"ydxw", *("ydxw"[i] + "ydxw"[j] for i, j in PAIRS)]
        sums.high[arm] = [given[name] for name in names]
    return sums.moments()


def pair(kind, a, b):
    """Return two arms of a kind of metric."""
    both = kind(arms(a, b))
    return both.take(0), both.take(1)


def proportion(n, y):
    """Return the sums of y ones among n."""
    return {"n": n, "y": y, "yy": y}


A = {"n": 3407, "y": 1396.87, "yy": 52377.9767}
A_3000 = A | {"n": 3000}
B = {"n": 3461, "y": 2422.7, "yy": 134698.29}

RATIO_A = {
    "n": 100,
    "y": 485.112236689623,
    "yy": 2715.484666118136,
    "d": 679.9093275844917,
    "dd": 4939.424001640236,
    "x": 192.59138069991536,
    "xx": 460.076026390857,
    "w": 290.1398399750233,
    "ww": 920.9461385038898,
    "yx": 1113.6215759318352,
    "dw": 2130.9404074446747,
    "xw": 634.239482353647,
    "yd": 3602.146836776702,
    "yw": 1559.2878434944676,
    "dx": 1460.3181079276983,
}
RATIO_B = {
    "n": 100,
    "y": 514.7757826608777,
    "yy": 2994.897482705013,
    "d": 705.4090874383759,
    "dd": 5291.36604146392,
    "x": 206.94157227402536,
    "xx": 514.2903702246757,
    "w": 302.54389139107326,
    "ww": 994.4506208125663,
    "yx": 1237.0953021125997,
    "dw": 2292.081739775257,
    "xw": 698.4173425817908,
    "yd": 3918.1561431600717,
    "yw": 1701.0287270040265,
    "dx": 1604.0759503266522,
}
