import pytest

# Whole tests live there: their failures are to be told as those of any test.
pytest.register_assert_rewrite("tests.reference_models")
