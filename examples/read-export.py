#!/usr/bin/env python3
"""Verifies and restores an export of the format spillway/1 with nothing of spillway.

  read-export.py verify  FOLDER -i key.txt --signer ed25519:…
  read-export.py restore FOLDER -i key.txt --signer ed25519:… > rows.ndjson

Written from docs/format.md alone, to which § points. Holds one page at a time. Needs Python 3.8 and, of stock
tools, openssl 3 (which holds the manifest whole), age and zstd where the export uses them. Without -i, age asks
for a passphrase, again for every page. Without --signer, the signature proves that nothing changed, not who made
it. Exit status 0: all is right; 1: it is not, and stderr says why; what was restored is authentic, but not all.
"""
import argparse, base64, contextlib, decimal, hashlib, json, os, re, shutil, stat, subprocess, sys, tempfile, threading, zlib

FILES = "manifest.json", "manifest.json.sig", "SHA256SUMS"  # beside the pages
PAGE_BYTES, OBJECT_BYTES = 256 << 20, 258 << 20  # records in a page, and the page as stored (§1)
LINE_BYTES, BOM = 16 << 20, b"\xef\xbb\xbf"  # a line of the manifest at most: this reader's own limit
# Where a record may end, and what hides it (§2); csv may have another quote. Other formats are not counted.
SIGNS = {"ndjson": rb"\n", "pgtext": rb"\n", "csv": rb'["\n]', "json": rb'\\.|["{}\[\]]'}
# Shapes of JSON values: a pattern for text, a function, [items], {fields, in order}, {...: any}, (either, or).
whole = lambda value: type(value) is int and 0 <= value < 2**53
number = lambda value: type(value) is int and abs(value) < 10**21 and value == int(decimal.Decimal(repr(float(value))))
flag, null = lambda value: type(value) is bool, lambda value: value is None
null_text = lambda value: fits(value, r"(?!\\\.$)[^\0\r\n]*") and len(value.encode(errors="replace")) <= 32
WORD, FACT, MARK = ".*", "[A-Za-z][A-Za-z0-9_ .:/-]{0,63}", r"[^A-Za-z0-9\0\r\n\x80-\U0010ffff]"
RUN, DIGEST = "[0-9A-Za-z][0-9A-Za-z._-]{0,63}", "[0-9a-f]{64}"
TIME = r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z"


class Refused(Exception):
    """The export is not what it should be; the message is a sentence for people."""


def need(fact, sentence):
    if not fact:
        raise Refused(sentence)


def fits(value, shape):
    if callable(shape):
        return shape(value)
    if type(shape) is str:
        return type(value) is str and re.fullmatch(shape, value, re.S) is not None
    if type(shape) is tuple:
        return any(fits(value, each) for each in shape)
    if type(shape) is list:
        return type(value) is list and all(fits(item, shape[0]) for item in value)
    known = type(value) is dict and (... in shape or list(value) == list(shape))
    return known and all(fits(key, FACT) and fits(value[key], shape.get(key, shape.get(...))) for key in value)


LAYERS = {"extension": "[a-z0-9]{1,16}", "compress": "zstd|gzip|none", "encrypt": "age|none"}
DIALECT = {"delimiter": MARK, "quote": MARK, "header": flag, "null": null_text,
           "lineEnd": "lf|crlf", "quoteAll": flag, "bom": flag}
USUAL = dict(delimiter=",", quote='"', header=True, null="", lineEnd="lf", quoteAll=False, bom=False)
HEAD = {"format": "spillway/1", "run": RUN, "pipeline": "[a-z0-9][a-z0-9._-]{0,62}",
        "generation": lambda value: whole(value) and value > 0, "previous": (null, DIGEST),
        "tool": {"name": WORD, "version": WORD}, "started": TIME, "finished": TIME, "configDigest": DIGEST,
        "queryDigest": DIGEST, "consistency": {"class": "snapshot|epochs|unchanged-file|stream", "proof": {
            ...: (null, flag, WORD, number)}}, "schema": {"columns": [{"name": WORD, "type": WORD}]},
        "layers": (LAYERS, {**LAYERS, "extension": "csv", "dialect": DIALECT}),
        "signer": "ed25519:[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]="}
PAGE = {"name": WORD, "records": whole, "bytes": whole, "sha256": DIGEST}
TAIL = {"totals": {"pages": whole, "records": whole, "bytes": whole, "plainBytes": whole},
        "rejected": {...: whole}, "resumedFrom": (null, RUN)}
IDENTITY = {"spillway": whole, "run": RUN, "page": whole, "records": whole, "total": whole,
            "span": "whole|first|middle|last", "bytes": whole, "chain": DIGEST, "final": flag}


def parse(spelled, shape, what):
    """The value of a JSON text that is spelled as JSON.stringify does, and in no other way."""
    try:
        value = json.loads(spelled)
        again = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except (ValueError, RecursionError):
        raise Refused(f"{what} is not JSON.") from None
    same = again.encode("utf-8", "backslashreplace") == spelled
    need(same and fits(value, shape), f"{what} is not as format spillway/1 says.")
    return value


def open_object(folder, name):
    opened = os.open(os.path.join(folder, name), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    need(stat.S_ISREG(os.fstat(opened).st_mode), f"{name} is not an ordinary file.")
    return os.fdopen(opened, "rb")


class Manifest:
    """A private copy of manifest.json, read a line at a time (§4)."""
    def __init__(self, folder):
        self.file = tempfile.NamedTemporaryFile()
        with open_object(folder, "manifest.json") as source:
            shutil.copyfileobj(source, self.file)
        self.file.seek(0)
        self.head = {key: self.read_field(key, HEAD[key], "{" * (key == "format")) for key in HEAD}
        need(self.read_line() == b'"pages":[', "manifest.json has no pages behind its signer.")
        self.first_page = self.file.tell()
        layers, said = self.head["layers"], self.head["layers"].get("dialect", USUAL)
        apart = len({said["delimiter"], said["quote"]} - set(said["null"])) == 2
        need(apart and layers.get("dialect") != USUAL, "The dialect in manifest.json is none of the format's.")
        self.quote, self.header = said["quote"].encode(), said["header"] and layers["extension"] == "csv"
        ends = {"zstd": ".zst", "gzip": ".gz", "age": ".age", "none": ""}
        self.extension = "." + layers["extension"] + ends[layers["compress"]] + ends[layers["encrypt"]]

    def read_line(self):
        line = self.file.readline(LINE_BYTES)
        need(line.endswith(b"\n"), "manifest.json is cut off, or has a line too long.")
        return line[:-1]

    def read_field(self, key, shape, lead="", end=","):
        line, start = self.read_line(), f'{lead}"{key}":'.encode()
        need(line.startswith(start) and line.endswith(end.encode()), f"manifest.json lacks {key} in its place.")
        return parse(line[len(start) : -len(end)], shape, f"{key} in manifest.json")

    def pages(self):
        """What is said of each page, in order; then what follows the pages is checked too."""
        self.file.seek(self.first_page)
        number, inside, more = 0, False, True
        while more:
            line, what = self.read_line(), f"Page {number} in manifest.json"
            more = line.endswith(b",")
            shape = {**PAGE, "span": "first|middle|last"} if b'"span":' in line else PAGE
            page = parse(line[:-1] if more else line, shape, what)
            span = page.setdefault("span", "whole")
            named = number < 10**8 and page["name"] == f"{number:08d}{self.extension}"
            need(named, f"{what} does not have the name of its number and layers.")
            need(inside == (span in ("middle", "last")), f"{what} is out of place: span {span}.")
            inside = span in ("first", "middle")
            most = {"whole": page["records"], "last": 1}.get(span, 0)
            need(page["records"] <= most, f"{what} counts records that do not end in it.")
            yield page
            number += 1
        need(not inside, "The last record in manifest.json has no end.")
        need(self.read_line() == b"],", "The pages in manifest.json do not end as the format says.")
        tail = {key: self.read_field(key, TAIL[key], "", ",}"[key == "resumedFrom"]) for key in TAIL}
        need(self.file.read(1) == b"", "Something follows the end of manifest.json.")
        self.totals = tail["totals"]


def run_tool(command, given, most, refusal):
    """What a stock tool makes of the given bytes, when it is content and makes no more than it may."""
    def feed(pipe):  # a tool may stop reading: then its exit status says why
        with contextlib.suppress(OSError), pipe:
            pipe.write(given)
    with subprocess.Popen(command, stdin=-1, stdout=-1, stderr=subprocess.DEVNULL) as tool:
        feeder = threading.Thread(target=feed, args=(tool.stdin,))
        feeder.start()
        made = tool.stdout.read(most + 1)
        if len(made) > most:
            tool.kill()
        feeder.join()
    need(tool.returncode == 0 and len(made) <= most, refusal)
    return made


def check_signature(folder, manifest, pinned):
    """§5. Whose signature it is, only a pinned signer says."""
    run, signer = manifest.head["run"], manifest.head["signer"]
    lies = re.search("[0-9]{8}T[0-9]{9}Z-[0-9a-f]{8}$", os.path.abspath(folder))
    need(not lies or lies[0] == run, f"This is run {run} under the name of another.")
    prime, y = 2**255 - 19, int.from_bytes(base64.b64decode(signer[8:]), "little") % 2**255
    need(y < prime and (y**3 - y) * (121665 * y**4 - 243332 * y**2 + 121666) % prime, "The signer's key is weak.")
    need(pinned in (None, signer), f"The export is signed by {signer}, which is not the signer expected.")
    with tempfile.NamedTemporaryFile(buffering=0) as key, open_object(folder, "manifest.json.sig") as signature:
        key.write(bytes.fromhex("302a300506032b6570032100") + base64.b64decode(signer[8:]))  # DER
        verify = "openssl pkeyutl -verify -rawin -pubin -keyform DER -inkey".split()
        verify += [key.name, "-in", manifest.file.name, "-sigfile", os.path.join(folder, "manifest.json.sig")]
        need(len(signature.read(65)) == 64, "manifest.json.sig does not have 64 bytes.")
        run_tool(verify, b"", 4096, "The signature does not fit manifest.json (or openssl is older than 3.0).")


def check_listing(folder, manifest):
    """§6 and §8.2: SHA256SUMS and the objects are what the manifest says."""
    pages = records = size = 0
    with open_object(folder, "SHA256SUMS") as sums:
        for page in manifest.pages():
            line = f"{page['sha256']}  {page['name']}\n".encode()
            need(sums.readline(len(line)) == line, f"SHA256SUMS and manifest.json differ in {page['name']}.")
            stored = open_object(folder, page["name"]).seek(0, os.SEEK_END)
            need(stored == page["bytes"], f"{page['name']} has {stored} bytes, not {page['bytes']}.")
            pages, records, size = pages + 1, records + page["records"], size + stored
        need(sums.read(1) == b"", "SHA256SUMS says more than manifest.json.")
    found = {**manifest.totals, "pages": pages, "records": records, "bytes": size}
    need(found == manifest.totals, "The totals in manifest.json are not those of its pages.")
    for entry in os.scandir(folder):
        page = re.fullmatch("([0-9]{8})" + re.escape(manifest.extension), entry.name)
        known = page and int(page[1]) < pages or entry.name in FILES
        need(known, f"{entry.name!r} lies in the folder and does not belong to the export.")


def open_zstd(frame, name):
    """§3.2: identity, still to be parsed, and records. Walks the blocks (RFC 8878) to the one frame's end."""
    begin = 8 + int.from_bytes(frame[4:8], "little")
    need(frame[:4] == b"\x53\x2a\x4d\x18" and begin <= 8 + 4096, f"{name} does not begin with an identity.")
    inner, refusal = frame[begin:], f"{name} is not one whole zstd frame with its size and checksum."
    need(inner[:4] == b"\x28\xb5\x2f\xfd" and len(inner) > 5 and inner[4] & 31 == 4, refusal)
    single = inner[4] >> 5 & 1
    width = (single, 2, 4, 8)[inner[4] >> 6]
    at, last = 6 - single + width, not width
    size = int.from_bytes(inner[at - width : at], "little") + (256 if width == 2 else 0)
    while not last and at < len(inner):
        block = int.from_bytes(inner[at : at + 3], "little")
        last, at = block & 1, at + 3 + (1 if block >> 1 & 3 == 1 else block >> 3)
    need(width and last and at + 4 == len(inner) and (size <= 1 << 27 if single else inner[5] <= 17 << 3), refusal)
    content = run_tool(["zstd", "-dqc"], inner, min(size, PAGE_BYTES), refusal)
    need(len(content) == size, refusal)
    return frame[8:begin], content


def open_gzip(frame, name):
    """§3.2: identity, still to be parsed, and records."""
    size = int.from_bytes(frame[14:16], "little")
    header = b"\x1f\x8b\x08\x04\0\0\0\0\0\xff" + (size + 4).to_bytes(3, "little")[:2] + b"SW"
    need(frame[:14] == header and size <= 4096, f"{name} does not begin with an identity.")
    inflate, content = zlib.decompressobj(-15), b""
    most = min(int.from_bytes(frame[-4:], "little"), PAGE_BYTES)
    with contextlib.suppress(zlib.error):  # then there is no end of the stream, which is refused below
        content = inflate.decompress(frame[16 + size :], most + 1)
    trailer = zlib.crc32(content).to_bytes(4, "little") + len(content).to_bytes(4, "little")
    need(inflate.eof and inflate.unused_data == trailer, f"{name} is not one whole gzip member.")
    return frame[16 : 16 + size], content


def open_page(folder, manifest, page, keys):
    """§8.3: identity and records of a page, of which every byte is authenticated."""
    name, layers = page["name"], manifest.head["layers"]
    need(page["bytes"] <= OBJECT_BYTES, f"{name} is larger than a page can be.")
    with open_object(folder, name) as file:
        frame = file.read(page["bytes"] + 1)
    need(hashlib.sha256(frame).hexdigest() == page["sha256"], f"{name} is not what manifest.json says it is.")
    if layers["encrypt"] == "age":
        need(frame.startswith(b"age-encryption.org/v1\n"), f"{name} is not a binary age file.")
        command = ["age", "-d"] + [word for key in keys for word in ("-i", key)]
        frame = run_tool(command, frame, len(frame), f"age does not open {name} with what it was given.")
    if layers["compress"] == "none":
        return None, frame
    spelled, content = (open_zstd if layers["compress"] == "zstd" else open_gzip)(frame, name)
    return parse(spelled, IDENTITY, f"The identity in {name}"), content


def count_records(extension, quote, header):
    """§2: is sent page after page, and gives how many records ended in it and whether one is open."""
    signs, json_text = SIGNS[extension].replace(b'"', re.escape(quote)), extension == "json"
    quoted, depth, rest, lies_open, answer = False, 0, b"", False, None
    while True:
        content, ended = rest + (yield answer), 0
        escapes = len(content) - len(content.rstrip(b"\\"))
        rest = content[-1:] if json_text and escapes % 2 else b""
        for sign in (found[0] for found in re.finditer(signs, content, re.S)):
            quoted ^= sign == quote
            if not quoted:
                depth += (sign in b"{[") - (sign in b"}]")
                ended += sign == b"\n" or sign == b"}" and depth == 1
        header, ended = (False, ended - 1) if header and ended else (header, ended)
        lies_open = lies_open if content in (b"", BOM) else content[-1:] != b"\n"
        answer = ended, quoted or (depth > 1 if json_text else lies_open)


def check_pages(folder, manifest, keys, write):
    """§8.3 to §8.5: each page in its place; its records go on once all that it says is right."""
    extension, chain, total, plain = manifest.head["layers"]["extension"], bytes(32), 0, 0
    counted = count_records(extension, manifest.quote, manifest.header) if extension in SIGNS else None
    next(counted) if counted else None
    for number, page in enumerate(manifest.pages()):
        identity, content = open_page(folder, manifest, page, keys)
        name, records, span = page["name"], page["records"], page["span"]
        total, plain = total + records, plain + len(content)
        chain = hashlib.sha256(chain + hashlib.sha256(content).digest()).digest()
        true = dict(spillway=1, run=manifest.head["run"], page=number, records=records, total=total, span=span,
                    bytes=len(content), chain=chain.hex(), final=number + 1 == manifest.totals["pages"])
        for key in true if identity else ():
            need(identity[key] == true[key], f"{name} says {key} {identity[key]}, and not {true[key]}.")
        fine = not counted or counted.send(content) == (records, span in ("first", "middle"))
        need(fine, f"{name} does not hold the {records} records it should.")
        write(content)
    need(plain == manifest.totals["plainBytes"], f"The pages hold {plain} bytes; manifest.json says otherwise.")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("verb", choices=("verify", "restore"))
    parser.add_argument("folder", help="the run's folder")
    parser.add_argument("-i", dest="keys", metavar="FILE", action="append", default=[], help="age identities")
    parser.add_argument("--signer", help="the exporter's public key, ed25519:…")
    given = parser.parse_args()
    try:
        manifest = Manifest(given.folder)
        check_signature(given.folder, manifest, given.signer)
        check_listing(given.folder, manifest)
        check_pages(given.folder, manifest, given.keys, sys.stdout.buffer.write if given.verb == "restore" else len)
        sys.stdout.flush()
    except FileNotFoundError as gone:
        sys.exit(f"read-export: {gone.filename} is missing: an object of the export, or a tool to install.")
    except (Refused, OSError) as refusal:
        sys.exit(f"read-export: {refusal}")
    counts = "{records} records in {pages} pages are right, signed by".format(**manifest.totals)
    print(counts, manifest.head["signer"] + ("" if given.signer else ", whoever that is"), file=sys.stderr)


if __name__ == "__main__":
    main()
