"""A second look at files, by Python's own libraries: what values a file holds, or a tar archive made of a list.

json, ndjson   prints each row as JSON in one spelling, numbers as they stand in the file
sqlite         prints each row of a query, every cell as [kind, text]
tar            makes an archive of the entries that standard input names
"""
import base64, io, json, re, sqlite3, struct, sys, tarfile


class Number(str):
    pass


def spell(value):
    if isinstance(value, Number):
        return str(value)
    if isinstance(value, dict):
        return "{" + ",".join(spell(key) + ":" + spell(one) for key, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(spell, value)) + "]"
    text = json.dumps(value, ensure_ascii=False)
    # Half a pair has no UTF-8.
    return re.sub("[\ud800-\udfff]", lambda half: "\\u%04x" % ord(half.group()), text)


def ordered(pairs):
    """JSON gives members no order; ours stand as JavaScript has them: array indexes first, by number."""
    members = dict(pairs)
    indexes = [key for key in members if re.fullmatch("0|[1-9][0-9]{0,9}", key) and int(key) < 2**32 - 1]
    indexes.sort(key=int)
    return {key: members[key] for key in [*indexes, *(key for key in members if key not in indexes)]}


def read(text):
    return json.loads(text, object_pairs_hook=ordered, parse_int=Number, parse_float=Number, parse_constant=Number)


def cell(value):
    if value is None:
        return ["null", ""]
    if isinstance(value, float):
        return ["float", struct.pack(">d", value).hex()]
    if isinstance(value, int):
        return ["int", str(value)]
    return ["text", value[5:].hex()] if value[:5] == b"text:" else ["blob", value[5:].hex()]


def rows(path, query):
    database = sqlite3.connect(path)
    database.text_factory = lambda raw: b"text:" + raw
    for row in database.execute(query):
        yield [cell(b"blob:" + one if isinstance(one, bytes) and one[:5] != b"text:" else one) for one in row]


def archive(path, form):
    forms = {"pax": tarfile.PAX_FORMAT, "gnu": tarfile.GNU_FORMAT, "ustar": tarfile.USTAR_FORMAT}
    with tarfile.open(path, "w", format=forms[form]) as out:
        for name, content in json.load(sys.stdin):
            info = tarfile.TarInfo(name)
            data = base64.b64decode(content)
            info.size = len(data)
            out.addfile(info, io.BytesIO(data))


kind, path, *rest = sys.argv[1:]
sys.stdout.reconfigure(encoding="utf-8", newline="\n")
if kind == "tar":
    archive(path, rest[0])
elif kind == "sqlite":
    for row in rows(path, rest[0]):
        print(json.dumps(row))
elif kind == "json":
    for row in read(open(path, encoding="utf-8", newline="").read()):
        print(spell(row))
else:
    for line in open(path, encoding="utf-8", newline="\n"):
        if line.strip(" \t\r\n"):
            print(spell(read(line)))
