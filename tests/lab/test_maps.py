import io

import numpy as np
import pytest
from PIL import Image

from bestpapers.lab.files import FormatError
from bestpapers.lab.maps import as_map, decode_map, encode_map
from bestpapers.lab.places import Place


def image(values, kind="PNG"):
    out = io.BytesIO()
    Image.fromarray(values).save(out, kind)
    return out.getvalue()


def test_maps_as_jpeg_and_colours(tmp_path):
    grey = np.zeros((64, 64), np.uint8)
    grey[20:30, 30:50] = 170
    near = decode_map(tmp_path, image(grey, "JPEG"))
    assert abs(near - grey / np.float32(255)).max() < 0.1
    assert not decode_map(tmp_path, image(0 * grey, "JPEG")).any()  # an empty map stays empty
    np.testing.assert_allclose(decode_map(tmp_path, image(np.stack([grey] * 3, -1), "JPEG")), near, atol=0.05)
    heat = np.stack([grey, 0 * grey, 255 - grey], -1)
    with pytest.raises(FormatError, match=r"a grey picture.*found colours; save the map itself"):
        decode_map(tmp_path, image(heat))


def test_levels_and_shares_are_told_apart(tmp_path):
    here = Place(tmp_path, "map")
    levels = np.array([[0, 51], [255, 204]], np.uint8)
    shares = np.float32([[0, 0.2], [1, 0.8]])
    np.testing.assert_array_equal(as_map(levels, here), shares)
    np.testing.assert_array_equal(as_map(shares.astype(np.float64), here), shares)
    np.testing.assert_array_equal(as_map(levels > 100, here), [[0, 0], [1, 1]])
    np.testing.assert_array_equal(decode_map(tmp_path, encode_map(shares)), shares)
    for wrong in (255 * shares, -shares, np.full((2, 2), np.nan), shares[0], np.array([["a"]])):
        with pytest.raises(FormatError, match="map"):
            as_map(wrong, here)
