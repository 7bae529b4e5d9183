"""Bright objects in an image: Otsu's threshold, then connected components.

The work on every pixel runs on the GPU where torch has one, else on the CPU.
"""

from typing import NamedTuple

import cv2
import numpy

try:
    import torch
except ImportError:
    torch = None


class Segments(NamedTuple):
    """What was found; ``sizes`` in pixels, largest first, ``device`` is where it was computed."""

    threshold: int
    sizes: list
    mask: numpy.ndarray
    device: str


def decode(content):
    """Return the image in PNG, JPEG or another common format as grey values (height, width).

    :raises ValueError: it is no image, or too large a one.
    """
    try:
        image = cv2.imdecode(numpy.frombuffer(content, numpy.uint8), cv2.IMREAD_GRAYSCALE)
    except cv2.error as error:
        raise ValueError("the body is empty or too large an image") from error
    if image is None:
        raise ValueError("the body is no image that can be read")
    return image


def encode(mask):
    """Return a mask as PNG: white objects on black."""
    return cv2.imencode(".png", mask * 255)[1].tobytes()


def segment(image):
    """Return the Segments of a grey image."""
    on_gpu = torch is not None and torch.cuda.is_available()
    threshold, mask, device = _split_by_torch(image) if on_gpu else _split_by_numpy(image)
    _count, _labels, stats, _centres = cv2.connectedComponentsWithStats(mask, connectivity=8)
    sizes = sorted((int(area) for area in stats[1:, cv2.CC_STAT_AREA]), reverse=True)
    return Segments(threshold, sizes, mask, device)


def otsu(histogram):
    """Return the grey value that parts a histogram into two classes of least variance within.

    :param histogram: 256 counts.
    """
    values = numpy.arange(256)
    below = numpy.cumsum(histogram).astype(float)
    above = below[-1] - below
    total = numpy.cumsum(histogram * values).astype(float)
    both = (below > 0) & (above > 0)
    if not both.any():
        return int(values[histogram > 0][0])
    distance = total[both] / below[both] - (total[-1] - total[both]) / above[both]
    between = numpy.zeros(256)
    between[both] = below[both] * above[both] * distance**2
    return int(between.argmax())


def _split_by_numpy(image):
    threshold = otsu(numpy.bincount(image.ravel(), minlength=256))
    return threshold, (image > threshold).astype(numpy.uint8), "cpu"


def _split_by_torch(image):
    pixels = torch.from_numpy(numpy.ascontiguousarray(image)).to("cuda")
    threshold = otsu(torch.bincount(pixels.flatten(), minlength=256).cpu().numpy())
    mask = (pixels > threshold).to(torch.uint8)
    return threshold, mask.cpu().numpy(), f"{mask.device} {torch.cuda.get_device_name(mask.device)}"
