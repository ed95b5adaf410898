"""
Stands for logind on a bus of its own, with what kappa asks of it. stdout: a line for each lock that is taken, refused or
released, `ready` first. stdin: `sleep` and `wake` are announced to all. Arguments: modes and whats that are refused.
"""

import array
import os
import select
import socket
import struct
import sys

PATH = '/org/freedesktop/login1'
MANAGER = 'org.freedesktop.login1.Manager'
BUS = ('org.freedesktop.DBus', '/org/freedesktop/DBus', 'org.freedesktop.DBus')
CALL, RETURN, ERROR, SIGNAL = 1, 2, 3, 4
refused = sys.argv[1:]


def say(*words):
    print(*words, flush=True)


def align(data, to):
    return data + b'\0' * (-len(data) % to)


def text(value):
    return struct.pack('<I', len(value)) + value.encode() + b'\0'


def field(code, kind, value):
    signature = bytes([1]) + kind.encode() + b'\0'
    if kind == 'g':
        return bytes([code]) + signature + bytes([len(value)]) + value.encode() + b'\0'
    if kind == 'u':
        return bytes([code]) + signature + struct.pack('<I', value)
    return bytes([code]) + signature + text(value)


serial = 0


def send(kind, fields, body=b'', fds=()):
    global serial
    serial += 1
    header = b''
    for one in fields:
        header = align(header, 8) + field(*one)
    fixed = struct.pack('<cBBBIII', b'l', kind, 0, 1, len(body), serial, len(header))
    ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array('i', fds))] if fds else []
    bus.sendmsg([align(fixed + header, 8) + body], ancillary)


def call(destination, path, interface, member, signature='', body=b''):
    fields = [(1, 'o', path), (2, 's', interface), (3, 's', member), (6, 's', destination)]
    send(CALL, fields + ([(8, 'g', signature)] if signature else []), body)


def parse(data):
    """The first message and what follows it; None: there is more to come."""
    if len(data) < 16:
        return None
    _, kind, _, _, length, number, fields = struct.unpack('<cBBBIII', data[:16])
    end = 16 + fields
    body = (end + 7) // 8 * 8
    if len(data) < body + length:
        return None
    found, at = {}, 16
    while at < end:
        code, signature = data[at], data[at + 2 : at + 3]
        at += 4
        if signature == b'u':
            found[code] = struct.unpack('<I', data[at : at + 4])[0]
            at += 4
        else:
            size, at = (data[at], at + 1) if signature == b'g' else (struct.unpack('<I', data[at : at + 4])[0], at + 4)
            found[code] = data[at : at + size].decode()
            at += size + 1
        at = (at + 7) // 8 * 8
    return (kind, number, found, data[body : body + length]), data[body + length :]


def texts(body):
    found, at = [], 0
    while at < len(body):
        size = struct.unpack('<I', body[at : at + 4])[0]
        found.append(body[at + 4 : at + 4 + size].decode())
        at = (at + 4 + size + 1 + 3) // 4 * 4
    return found


locks = {}


def inhibit(number, sender, body):
    what, who, _, mode = texts(body)
    name = f'{who} {what} {mode}'
    if what in refused or mode in refused:
        say('refused', name)
        send(ERROR, [(4, 's', 'org.freedesktop.DBus.Error.AccessDenied'), (5, 'u', number), (6, 's', sender), (8, 'g', 's')],
             text('Permission denied'))
        return
    ours, theirs = os.pipe()
    locks[ours] = name
    send(RETURN, [(5, 'u', number), (6, 's', sender), (8, 'g', 'h'), (9, 'u', 1)], struct.pack('<I', 0), [theirs])
    os.close(theirs)
    say('taken', name)


def handle(message):
    kind, number, fields, body = message
    if kind == CALL and fields.get(3) == 'Inhibit':
        inhibit(number, fields[7], body)


bus = socket.socket(socket.AF_UNIX)
bus.connect(os.environ['DBUS_SYSTEM_BUS_ADDRESS'].split('=')[1].split(',')[0])
bus.sendall(b'\0AUTH EXTERNAL ' + str(os.getuid()).encode().hex().encode() + b'\r\n')
assert bus.recv(1024).startswith(b'OK')
bus.sendall(b'NEGOTIATE_UNIX_FD\r\n')
assert bus.recv(1024).startswith(b'AGREE')
bus.sendall(b'BEGIN\r\n')
call(*BUS, 'Hello')
call(*BUS, 'RequestName', 'su', align(text('org.freedesktop.login1'), 4) + struct.pack('<I', 0))
say('ready')

received = b''
while True:
    for ready in select.select([bus, 0, *locks], [], [])[0]:
        if ready is bus:
            received += bus.recv(65536)
            while (parsed := parse(received)) is not None:
                message, received = parsed
                handle(message)
        elif ready == 0:
            words = os.read(0, 1024).decode().split()
            if not words:
                sys.exit()
            for word in words:
                send(SIGNAL, [(1, 'o', PATH), (2, 's', MANAGER), (3, 's', 'PrepareForSleep'), (8, 'g', 'b')],
                     struct.pack('<I', word == 'sleep'))
        else:
            say('released', locks.pop(ready))
            os.close(ready)
