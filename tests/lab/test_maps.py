import io

import numpy as np
import pytest
import torch
from PIL import Image

from bestpapers.lab.files import FormatError
from bestpapers.lab.maps import as_map, decode_map, encode_map, overlay, read_map
from bestpapers.lab.places import Place
from bestpapers.lab.tensors import write_tensors


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


def test_a_map_in_a_file_of_tensors(tmp_path):
    path = tmp_path / "a.safetensors"
    one, other = torch.rand(4, 5), torch.rand(4, 5)
    write_tensors(path, dict(whatever=one.bfloat16()))
    np.testing.assert_allclose(read_map(path), one, atol=1 / 128)
    write_tensors(path, dict(a=other, heat=one, map=other.clone()))
    np.testing.assert_array_equal(read_map(path, ("heat", "map")), one)  # of the names the first that is there
    with pytest.raises(FormatError, match=r"tensors: expected one, or one called x, found \['a', 'heat', 'map'\]"):
        read_map(path, ("x",))


def test_an_overlay_covers_by_height():
    picture = np.full((1, 3, 3), 100, np.uint8)
    found = overlay(picture, np.array([[0, 0.5, 7]]), (255, 0, 0))
    assert (found[0, 0] == 100).all()
    assert 100 < found[0, 1, 0] < found[0, 2, 0] < 255  # some of the picture stays
    assert 0 < found[0, 2, 2] < found[0, 1, 2] < 100
