"""The ceiling: Bottle on Waitress with contactapi's own settings and nothing behind it.

    python ceiling.py PORT

GET answers a constant of 200 bytes, the list a constant as long as a list of 20, POST
and PATCH parse the body as JSON and answer a constant. What this cannot do, nothing on
this stack can.
"""

import json
import logging
import sys

from bottle import Bottle, request, response
from sample import contact
from waitress import serve

# What contactapi's own server sets (its `Server`); change both together.
WAITRESS = dict(
    threads=8,
    send_bytes=65536,
    connection_limit=1000,
    cleanup_interval=2,
    asyncore_use_poll=True,
    max_request_header_size=32768,
    outbuf_overflow=2**30,
    outbuf_high_watermark=2**20,
    clear_untrusted_proxy_headers=False,
)

JSON = "application/json; charset=utf-8"
TIMES = {"created_at": "2026-07-04T10:00:00Z", "updated_at": "2026-07-04T10:00:00Z"}
SAMPLE = {"id": "con_01h455vb4pex5vsknk084sn02q", **contact(12345), **TIMES}
PAGING = {"page": 1, "page_size": 20, "total": 1000, "total_pages": 50}
ONE = json.dumps(SAMPLE, separators=(",", ":")).encode().ljust(200)
LIST = json.dumps({"data": [SAMPLE] * 20, **PAGING}, separators=(",", ":")).encode()

app = Bottle()


@app.get("/healthz")
def health():
    return answer(b'{"status":"ok"}')


@app.get("/v1/contacts/<id>")
def get_one(id):
    return answer(ONE)


@app.get("/v1/contacts")
def get_list():
    return answer(LIST)


@app.post("/v1/contacts")
def post():
    json.loads(request.body.read())
    return answer(ONE, 201)


@app.route("/v1/contacts/<id>", method="PATCH")
def patch(id):
    json.loads(request.body.read())
    return answer(ONE)


def answer(body: bytes, status: int = 200) -> bytes:
    response.status = status
    response.content_type = JSON
    return body


if __name__ == "__main__":
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)
    serve(app, host="127.0.0.1", port=int(sys.argv[1]), **WAITRESS)
