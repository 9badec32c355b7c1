"""Collect the sections of a report, in their order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from platform.read_only_study import StoredStudy
from platform.reporting.content import Content, Section
from platform.reporting.course import cost_section, ended_section, environment_section, trials_section
from platform.reporting.figures.figure import Figure, make_figures
from platform.reporting.figures.front import plot_front
from platform.reporting.figures.history import plot_history
from platform.reporting.figures.importances import plot_importances
from platform.reporting.figures.learning_curves import plot_learning_curves
from platform.reporting.figures.parallel_coordinates import plot_parallel_coordinates
from platform.reporting.figures.per_fold import plot_per_fold
from platform.reporting.figures.slices import plot_slices
from platform.reporting.figures.timeline import plot_timeline
from platform.reporting.headline import headline, summarize
from platform.reporting.papers import papers_section
from platform.reporting.settings import settings_section
from platform.reporting.stages import finalists_of, folds_of, stages_section
from platform.reporting.subject import Subject


def gather(subject: Subject) -> Content:
    """Return the report of a study; parts that the study or its data do not support are left out."""
    stored = subject.stored
    folds, final = folds_of(subject), finalists_of(subject)

    def plotted(*plots: Callable[[StoredStudy], Figure]) -> list[Figure]:
        return make_figures(stored, plots, f"study {stored.name}")

    stages = stages_section(subject, folds, final)
    of_study = [
        _of("Pareto front", plotted(plot_front)),
        settings_section(subject),
        papers_section(subject),
        stages and replace(stages, figures=plotted(plot_per_fold)),
        _of("What mattered", plotted(plot_importances, plot_slices, plot_parallel_coordinates)),
        _of("How it went", plotted(plot_learning_curves, plot_history, plot_timeline)),
    ]
    of_model: list[Section] = []
    missing: list[str] = []
    if stored.best is not None and subject.manifest is not None:
        from platform.reporting.model import model_sections  # imports torch, which takes seconds

        of_model, missing = model_sections(subject, subject.manifest, stored.best, final)
    course = [ended_section(stored), cost_section(subject), environment_section(subject), trials_section(stored)]
    return Content(
        study=stored.name,
        about=_about(stored),
        summary=summarize(subject, folds, final),
        headline=headline(subject, final),
        sections=[section for section in (*of_study, *of_model, *course) if section is not None],
        missing=[*filter(None, [subject.why_no_manifest]), *missing],
    )


def _about(stored: StoredStudy) -> str:
    search, goal = stored.search, " against ".join(stored.objectives)
    return (
        f"Space {search['space']} at {search['scale']} scale, {search['epochs']} epochs, {goal} on the validation split"
    )


def _of(title: str, figures: list[Figure]) -> Section | None:
    return Section(title=title, figures=figures) if figures else None
