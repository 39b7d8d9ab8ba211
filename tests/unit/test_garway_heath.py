"""The map of the visual field onto the optic disc."""

from collections import Counter

import pytest

from airouter.domain.study import Laterality
from airouter.pipelines.garway_heath import ANGLES, CODES, Sector, is_blind_spot, sector_at, sector_of
from phantoms.perimetry import BLIND_SPOT, GRID

R, L = Laterality.R, Laterality.L


def test_the_map_is_the_24_2_pattern_without_its_blind_spot():
    grid = {(int(x), int(y)) for n, (x, y) in enumerate(GRID) if n not in BLIND_SPOT}
    assert set(ANGLES) == grid
    assert all(is_blind_spot(*GRID[n], R) for n in BLIND_SPOT)
    assert not any(is_blind_spot(x, y, R) for x, y in grid)


def test_upper_field_is_lower_disc():
    for (_, y), angle in ANGLES.items():
        upper_disc = 0 < angle < 180
        assert upper_disc == (y < 0)


def test_fibres_of_the_raphe_diverge_and_those_beside_fixation_lie_temporally():
    assert sector_of(-27, 3, R) is Sector.INFEROTEMPORAL
    assert sector_of(-27, -3, R) is Sector.SUPERONASAL
    for y in (3, -3):
        for x in (-3, 3, 9):
            assert sector_of(x, y, R) is Sector.TEMPORAL
        assert sector_of(21, y, R) is Sector.NASAL


def test_every_point_is_in_one_sector():
    counts = Counter(sector_of(x, y, R) for x, y in ANGLES)
    assert counts == {
        Sector.TEMPORAL: 6,
        Sector.SUPEROTEMPORAL: 10,
        Sector.SUPERONASAL: 11,
        Sector.NASAL: 4,
        Sector.INFERONASAL: 8,
        Sector.INFEROTEMPORAL: 13,
    }
    assert set(CODES) == set(Sector)


@pytest.mark.parametrize("at", ANGLES)
def test_a_left_eye_is_the_mirror_image(at):
    x, y = at
    assert sector_of(-x, y, L) is sector_of(x, y, R)


@pytest.mark.parametrize(
    ("angle", "sector"),
    [
        (0, Sector.TEMPORAL), (40, Sector.TEMPORAL), (41, Sector.SUPEROTEMPORAL), (80, Sector.SUPEROTEMPORAL),
        (81, Sector.SUPERONASAL), (120, Sector.SUPERONASAL), (121, Sector.NASAL), (230, Sector.NASAL),
        (231, Sector.INFERONASAL), (270, Sector.INFERONASAL), (271, Sector.INFEROTEMPORAL),
        (310, Sector.INFEROTEMPORAL), (311, Sector.TEMPORAL), (359.9, Sector.TEMPORAL), (360, Sector.TEMPORAL),
    ],
)  # fmt: skip
def test_sectors_end_where_the_next_begins(angle, sector):
    assert sector_at(angle) is sector


def test_what_the_map_does_not_have_has_no_sector():
    assert sector_of(15, 3, R) is None
    assert sector_of(1, 1, R) is None
    assert sector_of(3.4, 3, R) is None
    assert sector_of(3.2, 3, R) is Sector.TEMPORAL
    with pytest.raises(ValueError, match="no single eye"):
        sector_of(3, 3, Laterality.B)
