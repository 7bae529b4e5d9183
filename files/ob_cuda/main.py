"""The sample application: says that it is there, says what it runs on, and takes images apart."""

import pathlib
import socket
import sys

import numpy
import segmentation
from flask import Flask, Response, jsonify, request

_MOST_BYTES = 32 << 20
# One bright square on black: the smallest image that takes the whole way.
_PROBE = numpy.zeros((32, 32), numpy.uint8)
_PROBE[8:16, 8:16] = 200

app = Flask(__name__)
app.config["MAX_CONTENT_LENGTH"] = _MOST_BYTES


@app.get("/")
def online():
    """Say that the server is there."""
    return Response("ob cuda server online!", mimetype="text/plain")


@app.get("/healthz")
def health():
    """Segment a small image and say where that was done; 500 when the result is wrong."""
    found = segmentation.segment(_PROBE)
    return jsonify(
        host=socket.gethostname(),
        prefix=sys.prefix,
        release=str(pathlib.Path(__file__).resolve().parent),
        device=found.device,
    ), 200 if found.sizes == [64] else 500


@app.post("/segment")
def segment():
    """Take the image in the body apart: as JSON, or as a PNG mask where that is accepted."""
    try:
        image = segmentation.decode(request.get_data())
    except ValueError as error:
        return jsonify(error=str(error)), 415
    found = segmentation.segment(image)
    if request.accept_mimetypes.best_match(["application/json", "image/png"]) == "image/png":
        return Response(segmentation.encode(found.mask), mimetype="image/png")
    height, width = image.shape
    return jsonify(
        width=width,
        height=height,
        threshold=found.threshold,
        count=len(found.sizes),
        sizes=found.sizes,
        device=found.device,
    )
