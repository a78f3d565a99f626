"""A network camera that plays a clip without end, as MJPEG, for as many readers as come: tools/mjpeg_camera.py CLIP

Read it as http://ADDRESS:8080/stream.mjpg. For trying what reads a network camera, such as the boards of board_lab.sh.
"""

import argparse
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import cycle

import cv2


def jpegs(clip: str, width: int, every: int) -> Iterator[bytes]:
    """Each `every`-th frame of a clip, shrunk to `width` pixels, as JPEG."""
    capture, number = cv2.VideoCapture(clip), 0
    while True:
        there, frame = capture.read()
        if not there:
            return
        if number % every == 0:
            height = round(frame.shape[0] * width / frame.shape[1])
            frame = cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA)
            yield cv2.imencode(".jpg", frame)[1].tobytes()
        number += 1


class Camera(BaseHTTPRequestHandler):
    """One reader."""

    frames: tuple[bytes, ...] = ()
    fps = 5.0

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        try:
            for jpeg in cycle(self.frames):
                self.wfile.write(b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(jpeg))
                self.wfile.write(jpeg + b"\r\n")
                time.sleep(1 / self.fps)
        except (BrokenPipeError, ConnectionResetError):
            pass  # the reader has gone

    def log_message(self, *_: object) -> None:
        """Says nothing."""


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("clip")
    words.add_argument("--address", default="0.0.0.0")
    words.add_argument("--port", type=int, default=8080)
    words.add_argument("--width", type=int, default=320, help="pixels that frames are shrunk to")
    words.add_argument("--every", type=int, default=6, help="takes each so many-th frame of the clip")
    words.add_argument("--fps", type=float, default=5.0)
    given = words.parse_args()
    Camera.frames, Camera.fps = tuple(jpegs(given.clip, given.width, given.every)), given.fps
    if not Camera.frames:
        raise SystemExit(f"{given.clip} has no frames that OpenCV can read")
    print(f"{len(Camera.frames)} frames at port {given.port}", flush=True)
    ThreadingHTTPServer((given.address, given.port), Camera).serve_forever()


if __name__ == "__main__":
    main()
