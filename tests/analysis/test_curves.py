"""Lines through points with a known answer."""

import pytest

from nodebench.analysis.curves import line


def test_a_line_gives_back_what_it_was_drawn_from():
    found = line([1.0, 2.0, 3.0], [5.0, 7.0, 9.0])
    assert (found.slope, found.intercept, found.r_squared) == pytest.approx((2.0, 3.0, 1.0))


def test_a_line_that_falls_or_has_noise_has_its_share_of_the_variance():
    assert line([1.0, 2.0, 3.0], [9.0, 7.0, 5.0]).r_squared == pytest.approx(1.0)
    assert line([1.0, 2.0, 3.0, 4.0], [1.0, 3.0, 2.0, 4.0]).r_squared == pytest.approx(0.64)
