"""One XMPP client. xmpp.py ROLE HOST TRIPS COUNT CERTIFICATE: `bob` answers, `alice` measures.

Decides: how a rival's user would do it: TLS to the server, delivery receipts (XEP-0184).
Says one JSON line {"up"}, then alice {"done_s": [...], "rate": n}.
"""

import asyncio
import json
import os
import ssl
import sys
import time

import slixmpp

TEXT = "x" * 190


def say(**message):
    print(json.dumps(message), flush=True)


class Client(slixmpp.ClientXMPP):
    def __init__(self, name, certificate):
        super().__init__(f"{name}@lan.test", "secret")
        self.register_plugin("xep_0184", {"auto_request": False, "auto_ack": False})
        self.ssl_context = ssl.create_default_context(cafile=certificate)
        self.enable_direct_tls = False
        self.ready = asyncio.Event()
        self.receipts = asyncio.Queue()
        self.add_event_handler("session_start", self.begin)
        self.add_event_handler("receipt_received", self.receipt)
        self.add_event_handler("message", self.message)

    async def begin(self, _):
        self.send_presence()
        self.ready.set()

    def receipt(self, stanza):
        self.receipts.put_nowait(stanza["receipt"])

    def message(self, stanza):
        if stanza["request_receipt"]:
            self["xep_0184"].ack(stanza)

    def write(self, receipt):
        stanza = self.make_message("bob@lan.test", TEXT, mtype="chat")
        stanza["id"] = self.new_id()
        if receipt:
            stanza["request_receipt"] = True
        stanza.send()


async def measure(client, trips, count):
    took = []
    for _ in range(trips):
        start = time.perf_counter()
        client.write(True)
        await asyncio.wait_for(client.receipts.get(), 20)
        took.append(time.perf_counter() - start)
    rate = None
    if count:
        start = time.perf_counter()
        for number in range(count):
            client.write(number == count - 1)
            if number % 50 == 0:
                await asyncio.sleep(0)
        await asyncio.wait_for(client.receipts.get(), 90)
        rate = count / (time.perf_counter() - start)
    say(done_s=took, rate=rate)


async def main():
    role, host, trips, count, certificate = sys.argv[1:]
    client = Client(role, certificate)
    client.connect(host, 5222)
    await asyncio.wait_for(client.ready.wait(), 30)
    say(up=True)
    if role == "bob":
        await asyncio.sleep(3600)
    await asyncio.sleep(0.3)
    await measure(client, int(trips), int(count))
    os._exit(0)


asyncio.run(main())
