"""A TaskRunController with its queue, index and event handlers, and a reconciler that tests supply."""

import threading
from functools import partial

from controllerharness import MANAGED_BY

from resultsfw.controller.cache_transforms import TaskRunTransform
from resultsfw.controller.metrics import Metrics
from resultsfw.controller.ownership import RunSelector
from resultsfw.controller.requests import RequestQueue
from resultsfw.controller.taskruns import TaskRunController, TaskRunEvents, TaskRunIndex
from resultsfw.workqueue import MAX_DELAY


class ScriptedReconciler:
    """A reconciler that answers as told, and remembers what it was asked for.

    Attributes:
        seen: The requests.
        answers: For the next requests: seconds, an error to raise, or a function to call.
    """

    def __init__(self):
        self.changed = threading.Condition()
        self.seen = []
        self.answers = []

    def reconcile(self, namespace, name):
        with self.changed:
            self.seen.append((namespace, name))
            answer = self.answers.pop(0) if self.answers else None
            self.changed.notify_all()
        if isinstance(answer, Exception):
            raise answer
        return answer() if callable(answer) else answer

    def wait(self, count):
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.seen) >= count, 5), self.seen


class Pods:
    """A cache that knows the pods of these names."""

    def __init__(self):
        self.names = set()

    def holds(self, _namespace, name):
        return name in self.names


class OwnWrites:
    """Knows these versions as the controller's own, of whatever run."""

    def __init__(self):
        self.versions = set()

    def is_own(self, _namespace, _name, version):
        return version in self.versions


class TaskRunHarness:
    """The parts of a controller of TaskRuns.

    Attributes:
        reconciler: May be replaced; so may ``mark_failed``.
    """

    def __init__(self, managed_by=MANAGED_BY, threads=1, max_delay=MAX_DELAY):
        selector = RunSelector(managed_by)
        self.metrics = Metrics([])
        self.pods = Pods()
        self.own_writes = OwnWrites()
        self.reconciler = ScriptedReconciler()
        self.mark_failed = lambda *_: False
        self.index = TaskRunIndex(selector)
        self.queue = RequestQueue(
            self.own_writes, max_delay=max_delay, metrics=self.metrics.work.queue("TaskRun")
        )
        self.transform = TaskRunTransform(selector)
        events = TaskRunEvents(self.index, self.queue)
        self.on_taskrun, self.on_pod = events.on_taskrun, events.on_pod
        self.controller = TaskRunController(
            self.index,
            self.pods,
            self.queue,
            self,
            self._mark_failed,
            record_result=partial(self.metrics.work.count_reconcile, "TaskRun"),
            threads=threads,
        )

    def reconcile(self, namespace, name):
        return self.reconciler.reconcile(namespace, name)

    def _mark_failed(self, request, failure, message):
        return self.mark_failed(request, failure, message)

    def start(self):
        self.controller.start()
