"""Both passes of a network: images and mirror images."""

import numpy as np
import pytest

from insight.faces.flip import both_passes


@pytest.mark.parametrize("together, calls", [(False, [2, 2]), (True, [4])])
def test_images_and_mirror_images(together, calls):
    seen = []

    def network(images):
        assert images.flags.c_contiguous
        seen.append(len(images))
        return images[:, 0, 0, :].astype(np.float32)  # the first line of pixels

    images = np.arange(2 * 3 * 4 * 5, dtype=np.uint8).reshape(2, 3, 4, 5)
    plain, mirrored = both_passes(network, images, together)
    np.testing.assert_array_equal(plain, images[:, 0, 0])
    np.testing.assert_array_equal(mirrored, images[:, 0, 0, ::-1])
    assert seen == calls
