"""The rules that all others rest on: hooks, a window that collects, a second run (floor: testing)."""

from collections.abc import Mapping

from tenantcollect.testing.case import Case, described, require
from tenantcollect.testing.collector import CollectorHarness
from tenantcollect.testing.collectors import CollectorTests, hook_problem
from tenantcollect.testing.finding import only
from tenantcollect.testing.tenancy import Tenancy

__all__ = ["CollectionRules"]


class CollectionRules(CollectorTests):
    """Hooks that work, a window that collects something, and the same again."""

    def test_hooks_are_sound(self, script: str, env: Mapping[str, str]) -> None:
        """The hooks load, the env fits config(), and every dependency is there."""
        problem = hook_problem(only(self.collectors), script, env, seeded=self.seed is not None)
        require(problem is None, str(problem))

    def test_the_window_is_collected(
        self, harness: CollectorHarness, script: str, env: Mapping[str, str], tenancy: Tenancy
    ) -> None:
        """The script collects its window without an error, some rows with it, and the same from the beginning."""
        mistaken = self._mistaken(harness)
        require(mistaken is None, str(mistaken))
        case = self._begun(harness, script, env, tenancy)
        require(case.whole.error is None, f"{script} failed in {self.window}: {described(case.whole.error)}")
        require(
            case.written(),
            f"{script} wrote nothing in {self.window}; name a window in which your fake has data for it, "
            "or the other tests prove nothing",
        )
        case.fresh()
        anew = case.run()
        cure = "keep nothing in variables of the module, the class or the object: no other process has them"
        require(anew.error is None, f"from the beginning again, {script} failed; {cure}\n{described(anew.error)}")
        require(not (wrong := case.differs(anew.rows)), f"from the beginning again, {wrong}; {cure}")

    def test_running_again_changes_nothing(self, case: Case) -> None:
        """The same window twice gives the same rows: a window that was killed is run again."""
        cure = (
            "use upsert() with a primary key that the data source gives, not one that is counted or random; "
            "a column that is meant to change belongs into `volatile`"
        )
        case.fresh()
        for _ in range(2):
            again = case.run()
            require(again.error is None, f"run a second time, {case.script} failed; {cure}\n{described(again.error)}")
            require(not (wrong := case.differs(again.rows)), f"run a second time, {wrong}; {cure}")
            case.harness.forget(case.script, case.tenancy.tenant_id)
