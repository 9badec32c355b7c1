"""Collect the sections of a report, in their order."""

from __future__ import annotations

from platform.read_only_study import StoredStudy
from platform.reporting.answer import answer, headline
from platform.reporting.content import Content, Section
from platform.reporting.course import cost_section, ended_section, environment_section, trials_section
from platform.reporting.figures.figure import Figure
from platform.reporting.figures.of_study import figures_of_study
from platform.reporting.model import model_sections
from platform.reporting.papers import papers_section
from platform.reporting.settings import settings_section
from platform.reporting.stages import finalists_of, folds_of, stages_section
from platform.reporting.subject import Subject

SETTINGS_FIGURES = ("importances", "slices", "parallel_coordinates")
COURSE_FIGURES = ("learning_curves", "history", "timeline")


def gather(subject: Subject) -> Content:
    """Return the report of a study; parts that the study or its data do not support are left out."""
    stored = subject.stored
    folds, final = folds_of(subject), finalists_of(subject)
    figures = {figure.name: figure for figure in figures_of_study(stored)}
    of_model, missing = model_sections(subject, final)
    if subject.why_no_manifest:
        missing.insert(0, subject.why_no_manifest)
    stages = stages_section(subject, folds, final)
    sections = [
        _front(figures),
        settings_section(subject),
        papers_section(subject),
        stages and _with(stages, _pick(figures, "per_fold")),
        _of("What mattered", _pick(figures, *SETTINGS_FIGURES)),
        _of("How it went", _pick(figures, *COURSE_FIGURES)),
        *of_model,
        ended_section(stored),
        cost_section(subject),
        environment_section(subject),
        trials_section(stored),
    ]
    return Content(
        study=stored.name,
        about=_about(stored),
        answer=answer(subject, folds, final),
        headline=headline(subject, final),
        sections=[section for section in sections if section is not None],
        missing=missing,
    )


def _about(stored: StoredStudy) -> str:
    search = stored.search
    several = len(stored.objectives) > 1
    goal = " against ".join(stored.objectives) if several else stored.objective
    return (
        f"Space {search['space']} at {search['scale']} scale, {search['epochs']} epochs, {goal} on the validation split"
    )


def _front(figures: dict[str, Figure]) -> Section | None:
    return _of("Pareto front", _pick(figures, "front"))


def _of(title: str, figures: list[Figure]) -> Section | None:
    return Section(title=title, figures=figures) if figures else None


def _with(section: Section, figures: list[Figure]) -> Section:
    return Section(title=section.title, paragraphs=section.paragraphs, tables=section.tables, figures=figures)


def _pick(figures: dict[str, Figure], *names: str) -> list[Figure]:
    return [figures[name] for name in names if name in figures]
