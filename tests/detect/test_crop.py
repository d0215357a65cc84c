"""Crops and measures against slow references."""

import cv2
import numpy as np
import pytest

from insight.detect.crop import crop_face, share_outside
from insight.detect.face import Face
from insight.detect.photo import Photo
from insight.faces.alignment import similarity, template, warp

SIZE = (112, 112)


def smooth(height, width, seed=0):
    small = np.random.default_rng(seed).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)


def placed(scale, angle=0.0, shift=(0.0, 0.0)):
    """A face with its points where that similarity of the template has them."""
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    points = template(SIZE).astype(np.float64) @ turn.T + shift
    return Face(np.r_[points.min(0), points.max(0)], points, 1.0)


def png(pixels):
    return Photo(cv2.imencode(".png", pixels[..., ::-1])[1].tobytes())


def supersampled(pixels, points, times=16):
    """A crop by the mean of times x times bilinear samples of each pixel."""
    matrix = similarity(points, template(SIZE).astype(np.float64))
    matrix = times * matrix
    matrix[:, 2] += (times - 1) / 2
    fine = cv2.warpAffine(pixels, matrix, (112 * times, 112 * times), flags=cv2.INTER_LINEAR)
    return fine.reshape(112, times, 112, times, 3).mean((1, 3))


@pytest.mark.parametrize("scale", [0.7, 1.0, 2.5, 5.3, 11.0])
def test_is_close_to_a_supersampled_crop(scale):
    pixels = smooth(900, 1400)
    noisy = np.clip(pixels + np.random.default_rng(1).normal(0, 20, pixels.shape), 0, 255).astype(np.uint8)
    face = placed(scale, 0.3, (420.0 - 30 * scale, 300.0 - 30 * scale))
    crop, _ = crop_face(png(noisy), face, SIZE)
    error = np.abs(crop[4:-4, 4:-4] - supersampled(noisy, face.points)[4:-4, 4:-4])
    plain = warp(noisy, face.points.T.ravel(), SIZE)
    plain_error = np.abs(plain[4:-4, 4:-4] - supersampled(noisy, face.points)[4:-4, 4:-4])
    assert error.mean() < 4
    if scale > 2:
        assert error.mean() < 0.75 * plain_error.mean()  # one bilinear warp keeps the noise


def test_is_that_of_packing_where_nothing_is_halved():
    """So that face2rec, given the same landmarks, packs the same pixels."""
    pixels = smooth(300, 400)
    face = placed(1.3, -0.2, (90.25, 40.5))
    crop, _ = crop_face(png(pixels), face, SIZE)
    assert np.abs(crop.astype(int) - warp(pixels, face.points.T.ravel(), SIZE)).max() <= 1


@pytest.mark.parametrize("size", [(112, 112), (112, 96)])
@pytest.mark.parametrize("shift", [(0, 0), (60, 10), (-40, -55), (160, 160), (500, 0)])
def test_share_outside(size, shift):
    """Against a warp of ones."""
    photo = np.ones((150, 170), np.float32)
    matrix = similarity(placed(0.9, 0.4, shift).points, template(size).astype(np.float64))
    black = cv2.warpAffine(photo, matrix, size[::-1], flags=cv2.INTER_LINEAR) < 0.5
    assert share_outside(matrix, size, (170, 150)) == pytest.approx(black.mean(), abs=0.01)


def test_measures():
    face = placed(2.0, 0.5, (300.0, 100.0))
    sharp = np.random.default_rng(0).integers(0, 256, (600, 800, 3), dtype=np.uint8)
    measures = crop_face(png(sharp), face, SIZE)[1]
    assert measures.eyes == pytest.approx(2 * 35.24, abs=0.01)
    assert measures.outside == 0
    blurred = crop_face(png(cv2.GaussianBlur(sharp, (0, 0), 8)), face, SIZE)[1]
    assert blurred.sharpness < 0.05 * measures.sharpness


def test_border_is_black():
    crop, measures = crop_face(png(np.full((112, 112, 3), 255, np.uint8)), placed(1.0, 0.0, (0.0, 40.0)), SIZE)
    assert measures.outside == pytest.approx(40 / 112)
    assert (crop[:70] > 250).all() and (crop[74:] == 0).all()
