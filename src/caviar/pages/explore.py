"""Sections of the pictures that answer to one another and to the table's filters: `js/`."""

from __future__ import annotations

from caviar.pages.page import Section, View
from caviar.pages.snapshot import Snapshot

PARALLEL = View(
    "parallel",
    "Every trial, across all axes",
    "Drag along an axis to keep a part of it, everywhere on this page; click the axis to let go.",
)
PLANE = View(
    "plane", "Any two as a map", "Drag a box to keep what is in it. A cross diverged or failed."
)
PROGRESS = View("progress", "Best value so far", "A dot is a trial; the line the best until then.")
WORKERS = View("workers", "Who worked when", "A bar is a trial, a row what ran side by side.")


def explore_section(snapshot: Snapshot) -> Section:
    """Parallel coordinates and a map."""
    if not snapshot.trials:
        return Section("explore", "Explore", ["There is no trial yet."])
    return Section("explore", "Explore", views=[PARALLEL, PLANE])


def time_section(snapshot: Snapshot) -> Section:
    """The best value over trials and over time; the workers' rows."""
    if not any(t.finished or t.running for t in snapshot.everything):
        return Section("time", "Over time", ["No trial has begun yet."])
    return Section("time", "Over time", views=[PROGRESS, WORKERS])
