"""Videos for tests, as files of other people's programs have them: not written by what is tested."""

import cv2


def write(path, frames, rate=30.0):
    """A video of frames (T, H, W, 3) RGB by OpenCV, the codec by the ending. MJPG stands for what is exact, VP9 and VP8 for
    what readers have."""
    code = {".avi": "MJPG", ".webm": "VP90", ".mkv": "VP80"}[path.suffix]
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*code), rate, frames.shape[2:0:-1])
    for frame in frames:
        writer.write(frame[..., ::-1])
    writer.release()
    return path
