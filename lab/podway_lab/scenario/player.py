"""Plays a scenario: looks every sentence up, carries it out on the stage, and reports what came of it.

`podway-lab run` and `podway-lab demo` call it.
"""

from __future__ import annotations

import re
import time

from podway_lab.scenario.cluster import CLUSTER
from podway_lab.scenario.edits import EDITS
from podway_lab.scenario.faults import FAULTS
from podway_lab.scenario.guards import GUARDS
from podway_lab.scenario.language import BadScenario, Scenario, Sentence
from podway_lab.scenario.operations import OPERATIONS
from podway_lab.scenario.paths import PATHS
from podway_lab.scenario.restoring import RESTORING
from podway_lab.scenario.routes import ROUTES
from podway_lab.scenario.stage import NeedsPackets, NotSo, Stage
from podway_lab.scenario.traffic import TRAFFIC
from podway_lab.scenario.verbs import Verb, Verbs

SENTENCES: tuple[Verbs, ...] = (CLUSTER, TRAFFIC, FAULTS, OPERATIONS, EDITS, RESTORING, ROUTES, PATHS, GUARDS)
"""Every sentence of the language.

The first that fits is meant: `say` takes any text, and `stop traffic` stops no node named "traffic".
"""


class Player:
    """Carries out the sentences of one scenario."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self._began = time.monotonic()

    def play(self, scenario: Scenario) -> bool:
        """Whether everything that was expected came true; stops at the first thing that did not."""
        stage = self.stage
        came_true = self.carry_out(scenario)
        stage.losses += stage.background.stop()
        breaches = stage.lab.review()
        stage.report.summary(
            handled=stage.handled,
            losses=stage.losses,
            writes=stage.lab.referee.writes,
            breaches=breaches,
            seconds=time.monotonic() - self._began,
        )
        return came_true and not breaches

    def carry_out(self, scenario: Scenario) -> bool:
        """Whether everything came true so far; the lab goes on, and nothing is summed up."""
        return all(self._carry_out(sentence) for sentence in scenario.sentences)

    def _carry_out(self, sentence: Sentence) -> bool:
        verb, match = _understood(sentence)
        report = self.stage.report
        end = time.monotonic() + sentence.within
        with report.waiting(sentence.text):
            while True:
                try:
                    detail = verb(self.stage, match)
                except NeedsPackets:
                    report.left_out(sentence.text, "it needs packets")
                    return True
                except (NotSo, LookupError) as unmet:
                    if time.monotonic() < end:
                        time.sleep(0.1)
                        continue
                    report.failed(f"line {sentence.line}: {sentence.text}", str(unmet))
                    return False
                break
        if not sentence.text.startswith(("say ", "show ")):
            report.held(sentence.text, detail)
        return True


def check(scenario: Scenario) -> None:
    """Raises BadScenario, naming the line, when a sentence cannot be understood."""
    for sentence in scenario.sentences:
        _understood(sentence)


def _understood(sentence: Sentence) -> tuple[Verb, re.Match[str]]:
    for known in SENTENCES:
        if found := known.understood(sentence.text):
            return found
    raise BadScenario(f"line {sentence.line}: nobody knows how to {sentence.text!r}")
