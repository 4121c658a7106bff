"""One MQTT client at QoS 1. mqtt.py ROLE HOST TRIPS COUNT: `bob` answers, `alice` measures.

Decides: how a rival's user would do it at its best: TCP_NODELAY (out of the box Nagle meets
delayed acknowledgements, 40 ms a hop), an answer by the recipient as "delivered". No
encryption, nothing stored. Says {"up"}, then alice {"done_s": [...], "rate": n}.
"""

import json
import os
import queue
import socket
import sys
import threading
import time

import paho.mqtt.client as mqtt

TEXT = b"x" * 190


def say(**message):
    print(json.dumps(message), flush=True)


def main():
    role, host, trips, count = sys.argv[1:]
    ready, answers = threading.Event(), queue.Queue()
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=role)
    client.max_inflight_messages_set(1000)

    def heard(_client, _user, message):
        if role == "alice":
            answers.put(message.payload)
        elif message.payload[:1] == b"?":
            client.publish("alice", b"delivered", qos=1)

    client.on_message = heard
    client.on_subscribe = lambda *_: ready.set()
    client.on_socket_open = lambda _c, _u, sock: sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    client.connect(host, 1883)
    client.loop_start()
    client.subscribe(role, qos=1)
    if not ready.wait(20):
        raise SystemExit("not subscribed")
    say(up=True)
    if role == "bob":
        time.sleep(3600)
    took = []
    for _ in range(int(trips)):
        start = time.perf_counter()
        client.publish("bob", b"?" + TEXT, qos=1)
        answers.get(timeout=20)
        took.append(time.perf_counter() - start)
    rate = None
    if int(count):
        start = time.perf_counter()
        for number in range(int(count)):
            client.publish("bob", (b"?" if number == int(count) - 1 else b"!") + TEXT, qos=1)
        answers.get(timeout=90)
        rate = int(count) / (time.perf_counter() - start)
    say(done_s=took, rate=rate)
    os._exit(0)


main()
