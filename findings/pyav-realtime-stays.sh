#!/usr/bin/env bash
# PyAV 18.1.0 (FFmpeg 8.1.2): `start_time_realtime` of an RTSP stream is what the first report said, for ever.
# A camera says again and again what its clock shows (sender reports, RFC 3550). When its clock is set, by an hour here, the
# reports tell, and `start_time_realtime` stays: frames that are dated by it are an hour off until the next connection. Each
# packet has what the newest report says, as side data `prft`, which FFmpeg describes as what "some encoders" export. Seen,
# for a clock that is set forward by an hour between two frames of one stream:
#   before: start_time_realtime 12:00:00, prft 12:00:00
#   after: start_time_realtime 12:00:00, prft 13:00:00 (both less the time in the stream)
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
python3 -m venv "$scratch/venv"
"$scratch/venv/bin/pip" install --quiet --disable-pip-version-check av==18.1.0 numpy==2.4.6
cd "$scratch"
venv/bin/python - <<'END'
import socket
import struct
import threading
from datetime import datetime, timezone

import av
import numpy as np

NOON, NTP_TO_1970, FRAMES, SET_AT = 1_800_014_400, 2_208_988_800, 200, 100
SDP = "v=0\r\no=- 0 0 IN IP4 0\r\ns=-\r\nt=0 0\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 VP8/90000\r\na=control:video\r\n"
encoder = av.CodecContext.create("libvpx", "w")
encoder.width, encoder.height, encoder.pix_fmt, encoder.framerate = 32, 32, "yuv420p", 25
grey = av.VideoFrame.from_ndarray(np.full((48, 32), 128, np.uint8), format="yuv420p")
picture = bytes((encoder.encode(grey) + encoder.encode(None))[0])  # a key frame, which is sent again and again


def serve():
    connection, _ = listener.accept()
    lines = []
    for line in connection.makefile("r", newline="\r\n"):
        lines.append(line.strip())
        if lines[-1]:
            continue
        method, number = lines[0].split()[0], next(each.split()[1] for each in lines if each.startswith("CSeq"))
        lines = []
        more, content = "Session: 1\r\n", ""
        if method == "DESCRIBE":
            more, content = "Content-Type: application/sdp\r\n", SDP
        if method == "SETUP":
            more += "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n"
        answer = f"RTSP/1.0 200 OK\r\nCSeq: {number}\r\n{more}Content-Length: {len(content)}\r\n\r\n{content}"
        connection.sendall(answer.encode())
        if method == "PLAY":
            for frame in range(FRAMES):
                stamp, clock = 3600 * frame, NOON + NTP_TO_1970 + frame // 25 + (3600 if frame >= SET_AT else 0)
                if frame % 25 == 0:
                    send(connection, 1, struct.pack(">BBHIIIIII", 0x80, 200, 6, 1, clock, 0, stamp, frame, 0))
                send(connection, 0, struct.pack(">BBHIIB", 0x80, 0x80 | 96, frame, stamp, 1, 0x10) + picture)


def send(connection, channel, content):
    connection.sendall(b"$" + struct.pack(">BH", channel, len(content)) + content)


def shown(seconds):
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%H:%M:%S")


listener = socket.create_server(("127.0.0.1", 0))
threading.Thread(target=serve, daemon=True).start()
address = f"rtsp://127.0.0.1:{listener.getsockname()[1]}/"
seen = []
with av.open(address, options={"rtsp_transport": "tcp"}, timeout=60) as file:
    for packet, _ in zip(file.demux(video=0), range(FRAMES - 1)):
        if packet.has_sidedata("prft"):
            (wall_us,) = struct.unpack_from("q", memoryview(packet.get_sidedata("prft")))
            said = shown(file.start_time_realtime / 1e6), shown(wall_us / 1e6 - float(packet.pts * packet.time_base))
            seen.append(said)
for when, said in (("before", seen[0]), ("after", seen[-1])):
    print(f"{when}: start_time_realtime {said[0]}, prft {said[1]}")
assert (seen[0], seen[-1]) == (("12:00:00", "12:00:00"), ("12:00:00", "13:00:00"))
END
