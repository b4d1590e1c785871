"""Whatever happens between two calls: once it is quiet, everything is as the core says, and nobody else was touched."""

import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from tests.depth import DEEP
from tests.model import strategies as given
from tests.model.operations import Operation
from tests.model.world import World

STEPS = 50
EXAMPLES = 2000 if DEEP else 30
"""In the deep run 100,000 steps; usually as many as take 20 seconds."""


class Cluster(RuleBasedStateMachine):
    """Does one operation after the other."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()

    @rule(operation=given.put_entry)
    def put_an_entry(self, operation: Operation) -> None:
        self._do(operation)

    @rule(operation=given.put_other | given.delete)
    def put_or_delete(self, operation: Operation) -> None:
        self._do(operation)

    @rule(operation=given.tamper)
    def tamper(self, operation: Operation) -> None:
        self._do(operation)

    @rule(operation=given.set_policy | given.label | given.serve | given.compact)
    def change_the_cluster(self, operation: Operation) -> None:
        self._do(operation)

    @rule(operation=given.pass_time)
    def pass_time(self, operation: Operation) -> None:
        self._do(operation)

    @rule(operation=given.run)
    def run_a_part(self, operation: Operation) -> None:
        self._do(operation)

    @rule(operation=given.rounds)
    def run_all_parts(self, operation: Operation) -> None:
        self._do(operation)

    @rule(operation=given.disturb)
    def disturb(self, operation: Operation) -> None:
        self._do(operation)

    @rule(operation=given.disturb)
    def disturb_again(self, operation: Operation) -> None:
        self._do(operation)

    @rule(operation=given.restart)
    def restart(self, operation: Operation) -> None:
        self._do(operation)

    @rule()
    def settle(self) -> None:
        self.world.settle()
        self.world.check()

    def teardown(self) -> None:
        try:
            self.settle()
            self.world.check_rest()
        finally:
            self.world.close()

    def _do(self, operation: Operation) -> None:
        operation.run(self.world)
        assert not self.world.log.errors, self.world.log.errors


@pytest.mark.generated
def test_the_controller_brings_the_cluster_to_what_the_core_wants_whatever_happens() -> None:
    run_state_machine_as_test(Cluster, settings=settings(max_examples=EXAMPLES, stateful_step_count=STEPS))
