"""Detection and alignment of the faces in raw photos.

Coordinates are x to the right and y down; the centre of the top left pixel is (0, 0). Images are RGB uint8 (H, W, 3),
upright by their EXIF orientation.
"""
