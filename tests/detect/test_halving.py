"""Warps that scale down, against a warp of many more points than pixels."""

import cv2
import marked_photos as marked
import numpy as np
import pytest
from damaged_images import textured

from insight.detect.halving import halved, warp_without_aliasing

SIZE = (112, 112)


def matrix_of(scale, angle, shift):
    cos, sin = scale * np.cos(angle), scale * np.sin(angle)
    return np.array([[cos, -sin, shift[0]], [sin, cos, shift[1]]])


def supersampled(pixels, matrix, times=16):
    """The mean of times x times bilinear points of every pixel."""
    height, width = SIZE
    whole = cv2.warpAffine(
        pixels,
        np.array([[times, 0, (times - 1) / 2], [0, times, (times - 1) / 2]]) @ np.vstack([matrix, [0, 0, 1]]),
        (width * times, height * times),
    )
    return whole.reshape(height, times, width, times, -1).mean(axis=(1, 3))


@pytest.mark.parametrize("scale", [0.1, 0.15, 0.24, 0.26, 0.45])
@pytest.mark.parametrize("angle", [0, 0.4])
def test_is_what_many_points_give(scale, angle):
    smooth = cv2.GaussianBlur(textured(3, 901, 1203), (0, 0), 0.7 / scale)
    noise = np.random.default_rng(0).normal(0, 20, smooth.shape)
    pixels = np.clip(smooth + noise, 0, 255).astype(np.uint8)
    matrix = matrix_of(scale, angle, 55.5 - matrix_of(scale, angle, (0, 0)) @ [700, 400, 0])
    expected = supersampled(pixels, matrix)
    error = np.abs(warp_without_aliasing(pixels, matrix, SIZE) - expected).mean()
    plain = np.abs(cv2.warpAffine(pixels, matrix, SIZE[::-1]) - expected).mean()
    assert error < 4.5 and error < 0.6 * plain


@pytest.mark.parametrize("scale", [0.1, 0.3, 0.49])
def test_positions_are_exact(scale):
    size = (901, 703)
    matrix = matrix_of(scale, 0.2, (20, 3))
    warped = warp_without_aliasing(marked.spotted(size, 20), matrix, (500, 500))
    expected = marked.positions(size) @ matrix[:, :2].T + matrix[:, 2]
    np.testing.assert_allclose(marked.measured(warped), expected, atol=0.05)


def test_noise_averages_out():
    noise = np.random.default_rng(0).normal(128, 40, (1120, 1120, 3)).clip(0, 255).astype(np.uint8)
    matrix = matrix_of(0.1, 0.2, (0, 0))
    inner = (slice(60, 100), slice(10, 50))
    assert warp_without_aliasing(noise, matrix, SIZE)[inner].std() < 10
    assert cv2.warpAffine(noise, matrix, SIZE)[inner].std() > 20


@pytest.mark.parametrize("scale", [0.5, 1.0, 3.0])
def test_without_a_reduction_it_is_the_plain_warp(scale):
    pixels = textured(1, 300, 400)
    matrix = matrix_of(scale, 0.3, (20 - 100 * scale, 10 - 40 * scale))
    np.testing.assert_allclose(
        warp_without_aliasing(pixels, matrix, SIZE).astype(int),
        cv2.warpAffine(pixels, matrix, SIZE).astype(int),
        atol=2 * 255 / 32,  # OpenCV rounds positions to 1/32 pixel, from another origin
    )


def test_outside_is_black():
    pixels = np.full((101, 103, 3), 200, np.uint8)
    assert not warp_without_aliasing(pixels, matrix_of(1, 0, (-500, 0)), SIZE).any()
    left = warp_without_aliasing(pixels, matrix_of(0.25, 0, (30, 30)), SIZE)
    assert (left[:28] == 0).all() and (left[:, :28] == 0).all() and (left[60:] == 0).all()
    assert (left[32:50, 32:50] == 200).all()


def test_images_beyond_opencv_s_limit():
    wide = np.zeros((8, 40000, 3), np.uint8)
    wide[:, 39000:] = 255
    assert warp_without_aliasing(wide, matrix_of(1, 0, (-38990, 0)), (8, 20))[4, :, 0].tolist() == [0] * 10 + [255] * 10


def test_halved():
    pixels = np.arange(5 * 7 * 3, dtype=np.uint8).reshape(5, 7, 3)
    blocks = pixels[:4, :6].reshape(2, 2, 3, 2, 3).astype(int).sum(axis=(1, 3))
    np.testing.assert_array_equal(halved(pixels), (blocks + 2) // 4)
