"""Documents of any shape whose keys are among those that a search follows."""

from hypothesis import strategies as st

WORDS = [
    "spec",
    "taskSpec",
    "steps",
    "kind",
    "metadata",
    "annotations",
    "tasks",
    "pipelineSpec",
    "debug",
    "env",
    "resources",
    "timeout",
]


SHAPES = st.deferred(
    lambda: (
        st.none()
        | st.booleans()
        | st.text(max_size=5)
        | st.lists(SHAPES, max_size=3)
        | st.dictionaries(st.sampled_from(WORDS), SHAPES, max_size=4)
    )
)
