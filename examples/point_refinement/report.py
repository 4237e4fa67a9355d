"""The tables of an evaluation, as Markdown."""

from __future__ import annotations

from typing import Any

# Read in detectron2's model zoo, and in mmsegmentation's: what others gained by PointRend, with and without it.
ELSEWHERE = [
    ("COCO, mask AP, Mask R-CNN R50-FPN 1x (detectron2)", 35.2, 36.2),
    ("COCO, mask AP, Mask R-CNN R50-FPN 3x (detectron2)", 37.2, 38.3),
    ("Cityscapes, mIoU, semantic FPN R50 (mmsegmentation)", 74.52, 76.47),
    ("Cityscapes, mIoU, semantic FPN R101 (mmsegmentation)", 75.80, 78.30),
]


def _each(row: dict[str, Any], key: str, digits: int) -> str:
    seeds = " / ".join(f"{value:.{digits}f}" for value in row[key])
    return f"{row[key + '_mean']:.{digits}f} ({seeds})"


def _rows(rows: dict[str, dict[str, Any]], first: str) -> list[str]:
    lines = [f"| {first} | IoU | boundary IoU | points per tile | seconds per tile |", "|---|---|---|---|---|"]
    lines += [
        f"| {name} | {_each(row, 'iou', 2)} | {_each(row, 'boundary_iou', 1)} | {row['points']:,} | {row['seconds']:.3f} |"
        for name, row in rows.items()
    ]
    return lines


def _costs(rows: dict[str, dict[str, Any]]) -> list[str]:
    lines = ["| | multiply-adds per tile, in millions |", "|---|---|"]
    return lines + [f"| {name} | {row['multiply_adds'] / 1e6:,.1f} |" for name, row in rows.items()]


def _gains(rows: dict[str, dict[str, Any]], name: str, other: str) -> str:
    """What one way has more than another, with each seed."""
    iou, boundary = (
        ", ".join(f"{value - rival:+.{digits}f}" for value, rival in zip(rows[name][key], rows[other][key], strict=True))
        for key, digits in (("iou", 2), ("boundary_iou", 1))
    )
    return f"IoU {iou}; boundary IoU {boundary}"


def _answers(results: dict[str, Any]) -> list[str]:
    found, main = results["targets"], results["rows"]["main"]
    yes = {True: "yes", False: "NO"}
    return [
        "Differences, with each seed:",
        "",
        f"- Within 0.1 IoU of the point head everywhere: {yes[found['iou_within_0.1_of_dense_in_each_seed']]}"
        f" ({_gains(main, 'PointRend', 'point head everywhere')}), with {found['times_fewer_points']:.0f} times fewer points.",
        f"- Mild training points beat uniform ones: {yes[found['mild_beats_uniform_in_each_seed']]}"
        f" ({_gains(results['rows']['strategies'], 'mild', 'uniform')}).",
        f"- Heavy against mild training points: {_gains(results['rows']['strategies'], 'heavy', 'mild')}.",
        f"- PointRend against a dense head of equal cost: {_gains(main, 'PointRend', 'dense head at stride 1')}.",
        f"- Remembering against forgetting: {_gains(main, 'PointRend', 'PointRend that forgets')}.",
    ]


def table(results: dict[str, Any]) -> str:
    """All tables."""
    rows, seeds = results["rows"], ", ".join(map(str, results["seeds"]))
    elsewhere = [f"| {name} | {without} | {with_it} |" for name, without, with_it in ELSEWHERE]
    parts = [
        [
            "",
            f"Mean (seeds {seeds}), in percent; {results['data']['test_tiles']} tiles, {results['device']}, {results['threads']} thread(s)",
            "",
        ],
        _rows(rows["main"], ""),
        ["", "Training points", ""],
        _rows(rows["strategies"], ""),
        ["", "Resolution of the result, before it is enlarged bilinearly to be compared", ""],
        _rows(rows["sweep"], "pixels along an axis"),
        ["", "Cost: multiply-adds of convolutions and MLPs. The dense head has as many as PointRend, and differs only in its head", ""],
        _costs(rows["main"]),
        ["", *_answers(results), ""],
        [
            "Elsewhere (other data and size: compare directions, not numbers)",
            "",
            "| | without | with PointRend |",
            "|---|---|---|",
            *elsewhere,
        ],
        [""],
    ]
    return "\n".join(line for part in parts for line in part)
