#!/usr/bin/env python3
"""A line between two network namespaces that takes its time: what leaves one end comes out of the other MILLISECONDS later, packet for
packet (two TUN devices and a clock), where the kernel has no netem. Usage: line-delay.py MILLISECONDS; run in the near namespace, beside
a namespace called far. Makes a device `line` in both and says "ready". Part of scripts/thin-lab.sh."""
import fcntl
import os
import struct
import subprocess
import sys
import threading
import time
from collections import deque

TUNSETIFF = 0x400454CA
TUN_WITHOUT_HEADER = 0x0001 | 0x1000
DELAY_S = float(sys.argv[1]) / 1000


def device(name):
    fd = os.open('/dev/net/tun', os.O_RDWR)
    fcntl.ioctl(fd, TUNSETIFF, struct.pack('16sH', name.encode(), TUN_WITHOUT_HEADER))
    return fd


def carry(source, target):
    """One way, in order; as many packets as the shaper in front lets through within the delay stand here."""
    waiting = deque()
    arrived = threading.Semaphore(0)

    def deliver():
        while True:
            arrived.acquire()
            due, packet = waiting.popleft()
            time.sleep(max(0, due - time.monotonic()))
            os.write(target, packet)

    threading.Thread(target=deliver, daemon=True).start()
    while True:
        packet = os.read(source, 65536)
        waiting.append((time.monotonic() + DELAY_S, packet))
        arrived.release()


near, far = device('line'), device('line-far')
subprocess.run('ip link set line-far netns far && ip -n far link set line-far name line', shell=True, check=True)
threading.Thread(target=carry, args=(near, far), daemon=True).start()
print('ready', flush=True)
carry(far, near)
