#!/usr/bin/env python3
"""Verifies a bundle of an editlog, as docs/editlog-format.md describes it. It shares no code with Stet.

    verify-editlog.py BUNDLE [--keys FILE] [--checkpoint FILE]...

Exit codes: 0 the log is whole; 1 it is not; 2 the bundle cannot be read.
"""

import argparse
import base64
import hashlib
import json
import sys
import tarfile
import uuid
from datetime import datetime, timedelta, timezone

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

MEMBERS = ["id", "date", "user", "action", "key", "column_name", "value", "previous", "batch_id", "source", "reason",
           "event_id", "salts"]
PERSONAL = ["user", "value", "previous", "reason"]
EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


class Unreadable(Exception):
    """The bundle is not what a bundle is."""


def sha256(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def unbase64(text):
    return base64.b64decode(text, validate=True)


# Keys and checkpoints

def parse_key(line):
    name, key_id, encoded = line.split("+", 2)
    raw = unbase64(encoded)
    if len(raw) != 33 or raw[0] not in (1, 4):
        raise Unreadable(f"`{line}` is no Ed25519 key")
    if sha256(name.encode(), b"\n", raw)[:4].hex() != key_id:
        raise Unreadable(f"the id of the key `{name}` does not belong to it")
    return (name, bytes.fromhex(key_id)), (raw[0], Ed25519PublicKey.from_public_bytes(raw[1:]))


def parse_keys(text):
    return dict(parse_key(line) for line in text.splitlines() if line.strip() and not line.startswith("#"))


def open_checkpoint(note, origin, keys):
    """The size and root of a checkpoint that is signed by one of the keys; else why it cannot be believed."""
    text, separator, signatures = note.rpartition("\n\n")
    if not separator or not signatures.endswith("\n"):
        raise ValueError("it is no signed note")
    text += "\n"
    signed = False
    for line in signatures[:-1].split("\n"):
        dash, name, encoded = line.split(" ")
        raw = unbase64(encoded)
        if dash != "\u2014" or (name, raw[:4]) not in keys:
            continue
        kind, key = keys[name, raw[:4]]
        message, signature = text.encode(), raw[4:]
        if kind == 4:
            time, signature = int.from_bytes(signature[:8], "big"), signature[8:]
            message = f"cosignature/v1\ntime {time}\n".encode() + message
        try:
            key.verify(signature, message)
        except InvalidSignature:
            raise ValueError(f"the signature by `{name}` is wrong") from None
        signed = True
    if not signed:
        raise ValueError("no trusted key has signed it")
    lines = text.split("\n")
    if lines[0] != origin:
        raise ValueError(f"it is of another log, `{lines[0]}`")
    return int(lines[1]), unbase64(lines[2])


# Leaves and the tree

def text_bytes(text):
    encoded = text.encode()
    return len(encoded).to_bytes(4, "big") + encoded


def micros(date):
    parsed = datetime.strptime(date, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=timezone.utc)
    return (parsed - EPOCH) // timedelta(microseconds=1)


def leaf_hash(event):
    """The hash of an event's leaf, and which of its fields are erased."""
    data = [b"\x00\x01", event["id"].to_bytes(8, "big"), micros(event["date"]).to_bytes(8, "big", signed=True),
            uuid.UUID(event["event_id"]).bytes, uuid.UUID(event["batch_id"]).bytes,
            text_bytes(event["action"]), text_bytes(event["source"]), text_bytes(event["key"])]
    column = event["column_name"]
    data.append(b"\x00" if column is None else b"\x01" + text_bytes(column))
    erased = set()
    for place, field in enumerate(PERSONAL):
        text, salt = event[field], event["salts"][place]
        commitment = event.get("erased", [None] * 4)[place]
        if (text is None) != (salt is None) or (text is not None and commitment is not None):
            raise Unreadable(f"`{field}` of event {event['id']} has a text without a salt, or a salt without a text")
        if commitment is not None:
            erased.add(field)
            data.append(b"\x01" + unbase64(commitment))
        else:
            data.append(b"\x00" if text is None else b"\x01" + sha256(unbase64(salt), text.encode()))
    return sha256(*data), erased


class Tree:
    """A tree that grows: the roots of its perfect subtrees, the largest first, each with its size."""

    def __init__(self):
        self.peaks = []

    def append(self, leaf):
        size = 1
        while self.peaks and self.peaks[-1][0] == size:
            leaf = sha256(b"\x01", self.peaks.pop()[1], leaf)
            size *= 2
        self.peaks.append((size, leaf))

    def root(self):
        if not self.peaks:
            return sha256()
        root = self.peaks[-1][1]
        for _, peak in reversed(self.peaks[:-1]):
            root = sha256(b"\x01", peak, root)
        return root


# Erasures

def erasure(event):
    """The ranges of ids and the fields that an event erases."""
    if event["action"] != "erase" or event["reason"] is None:
        return [], set()
    ranges = []
    for part in event["key"].split(","):
        first, _, last = part.partition("-")
        ranges.append((int(first), int(last or first)))
    if any(last >= event["id"] for _, last in ranges):
        return [], set()
    return ranges, set(event["column_name"].split(","))


# The bundle

def read(path):
    """The manifest, keys, checkpoints and hashes of a bundle, and its events one after the other."""
    manifest, keys, checkpoints, hashes, parts = None, "", [], [], []
    with tarfile.open(path, "r:") as archive:
        for member in archive:
            content = archive.extractfile(member).read()
            if member.name == "manifest.json":
                manifest = json.loads(content)
            elif member.name == "keys":
                keys = content.decode()
            elif member.name.startswith("checkpoints/"):
                checkpoints.append((member.name, content.decode()))
            elif member.name.startswith("tile/0/"):
                hashes += [content[at:at + 32] for at in range(0, len(content), 32)]
            elif member.name.startswith("events/"):
                parts.append(content)
            else:
                raise Unreadable(f"`{member.name}` does not belong in a bundle")
    if manifest is None or manifest.get("format") != "stet-editlog-bundle/1":
        raise Unreadable("it is no bundle of a format that is known here")
    events = [json.loads(line) for part in parts for line in part.decode().split("\n") if line]
    for event in events:
        if list(event)[:len(MEMBERS)] != MEMBERS or list(event)[len(MEMBERS):] not in ([], ["erased"]):
            raise Unreadable("an event has not the members that it should have")
    if (len(events), len(hashes)) != (manifest["events"], manifest["hashes"]):
        raise Unreadable("it has not as many events and hashes as it says")
    return manifest, keys, checkpoints, hashes, events


def verify(path, keys_path, kept):
    manifest, own_keys, checkpoints, hashes, events = read(path)
    keys = parse_keys(open(keys_path, encoding="utf-8").read() if keys_path else own_keys)
    wrong, anchors = [], []
    for place, note in checkpoints + [(path, open(path, encoding="utf-8").read()) for path in kept]:
        try:
            size, root = open_checkpoint(note, manifest["origin"], keys)
            anchors.append((size, root, place, not place.startswith("checkpoints/")))
        except ValueError as error:
            wrong.append(f"FORGED: {place}: {error}")

    erased, covered = [], []
    for place, event in enumerate(events):
        found, fields = leaf_hash(event)
        if event["id"] != place + 1:
            wrong.append(f"DELETED, INSERTED or REORDERED: event {event['id']} stands at place {place + 1}")
            break
        if place < len(hashes) and found != hashes[place]:
            wrong.append(f"MODIFIED: event {event['id']}")
        erased += [(event["id"], field) for field in fields]
        covered.append(erasure(event))
    for number, field in erased:
        if not any(field in fields and first <= number <= last for ranges, fields in covered for first, last in ranges):
            wrong.append(f"MODIFIED: personal data of event {number} ({field}) is gone and no erasure covers it")

    sealed = max((size for size, _, _, _ in anchors), default=0)
    if len(events) < max(sealed, len(hashes)):
        wrong.append(f"TRUNCATED: {len(events)} events, {max(sealed, len(hashes))} sealed")
    tree, roots = Tree(), {}
    sizes = {size for size, _, _, _ in anchors}
    for size in range(len(hashes) + 1):
        if size in sizes:
            roots[size] = tree.root()
        if size < len(hashes):
            tree.append(hashes[size])
    for size, root, place, outside in anchors:
        if roots.get(size) != root:
            verdict = "FORKED" if outside and size in roots else "MODIFIED"
            wrong.append(f"{verdict}: the root of {size} hashes is not that of the checkpoint {place}")
    if not anchors:
        wrong.append("nothing vouches for this log: there is no checkpoint that can be believed")

    for line in wrong[:100]:
        print(line)
    if len(wrong) > 100:
        print(f"and {len(wrong) - 100} more")
    print(f"{manifest['origin']}: {len(events)} events, {sealed} sealed, {len(events) - min(sealed, len(events))} unsealed, "
          f"{len({number for number, _ in erased})} erased: {'NOT WHOLE' if wrong else 'whole'}")
    if not keys_path:
        print("checked with the keys in the bundle only: give --keys to know who signed")
    return 1 if wrong else 0


def main():
    parser = argparse.ArgumentParser(description="Verifies a bundle of an editlog.")
    parser.add_argument("bundle")
    parser.add_argument("--keys", help="the public keys that you trust, one on each line")
    parser.add_argument("--checkpoint", action="append", default=[], help="a checkpoint that you kept")
    arguments = parser.parse_args()
    try:
        return verify(arguments.bundle, arguments.keys, arguments.checkpoint)
    except (Unreadable, OSError, tarfile.TarError, ValueError, KeyError, TypeError, IndexError) as error:
        print(f"{arguments.bundle} cannot be verified: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
