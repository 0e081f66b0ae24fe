"""The bench's arithmetic: medians of rounds, ratios of interleaved rounds, percentiles, verdicts. Knows no proxy and no tool."""
import statistics

TOLERANCE = 1.03  # a ratio holds if its median is at most the target and 3 %


def median(values):
    return statistics.median(values)


def spread(values):
    """Half of the range from the least to the most, in percent of the median; None of a single value."""
    values = list(values)
    middle = statistics.median(values)
    if len(values) < 2 or not middle:
        return None
    return 100 * (max(values) - min(values)) / 2 / abs(middle)


def percentile(values, part):
    """The smallest value that `part` of all values do not exceed (nearest rank)."""
    values = sorted(values)
    if not values:
        return None
    rank = int(part * len(values))
    if rank < part * len(values):
        rank += 1
    return values[min(max(rank, 1), len(values)) - 1]


def by_round(samples, key):
    """{round: figure} of [{"round": n, key: figure, ...}], without rounds that lack the figure."""
    return {sample["round"]: sample[key] for sample in samples if sample.get(key) is not None}


def paired(ours, theirs):
    """(median, spread) of ours / theirs over the rounds that both have; both were measured close together, so that what disturbed
    the machine for a while disturbed both. None without a common round."""
    ratios = [ours[number] / theirs[number] for number in ours if theirs.get(number)]
    return (statistics.median(ratios), spread(ratios)) if ratios else None


def best(candidates, key, more_is_better=False):
    """The name with the best median of `key` among {name: samples}; None if none has one."""
    medians = {}
    for name, samples in candidates.items():
        values = by_round(samples, key).values()
        if values:
            medians[name] = statistics.median(values)
    if not medians:
        return None
    return (max if more_is_better else min)(medians, key=medians.get)


def ratio_to_best(ours, peers, key, more_is_better=False):
    """(ratio, spread, name of the best peer), below 1 when ours is better; None if either is missing."""
    name = best(peers, key, more_is_better)
    if name is None:
        return None
    mine, other = by_round(ours, key), by_round(peers[name], key)
    found = paired(other, mine) if more_is_better else paired(mine, other)
    return (*found, name) if found else None


def holds(value, target, tolerance=TOLERANCE):
    return value <= target * tolerance
