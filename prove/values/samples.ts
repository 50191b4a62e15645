/** Values of every type as texts that the server reads: the nasty ones, and random ones by chance. */
import { type Chance, wordsOf } from "../fuzz/chance.ts";

type Sample = (chance: Chance) => string;

const oneOf =
  (...texts: readonly string[]): Sample =>
  (chance) =>
    chance.pick(texts);

const digits = (chance: Chance, most: number) =>
  Array.from({ length: 1 + chance.below(most) }, () => chance.below(10)).join("");

const units = [
  ...Array.from("aé測🩺\n\r\t\b\f\v \"'\\,;{}()[]|<>&%$·"),
  ...Array.from(
    "\u0001\u001f\u007f\u0080\u2028\u2029\ufeff\u200d\u0301\u202e\ud7ff\ue000\uffff\u{10ffff}",
  ),
  ...wordsOf('\\.·\\N·NULL·""·\\u0000·\\x00·👩‍👩‍👧·e\u0301'),
];

export const nastyText: Sample = (chance) =>
  Array.from({ length: chance.below(chance.pick([2, 6, 40, chance.once(10) ? 9000 : 3])) }, () =>
    chance.pick(units),
  ).join("");

export const jsonOf = (chance: Chance, depth = 0): string => {
  const space = () => chance.pick(["", "", " ", "\n", "\r\n", "\t"]);
  const kind = chance.below(depth > 3 ? 4 : 6);
  if (kind === 0) return JSON.stringify(nastyText(chance).replaceAll("\\u0000", ""));
  if (kind === 1) return chance.pick(["null", "true", "false", '"\\u00e9\\ud83e\\ude7a"', '"\\/"']);
  if (kind === 2)
    return chance.pick(["0", "-0", "1e3", "1E-7", "9007199254740993", "0.1000000000000000055"]);
  if (kind === 3) return `${chance.once(2) ? "-" : ""}1${digits(chance, 30)}.${digits(chance, 30)}`;
  const items = Array.from({ length: chance.below(4) }, () => jsonOf(chance, depth + 1));
  if (kind === 4) return `[${items.map((item) => space() + item + space()).join(",")}]`;
  const keys = ["a", "a", "__proto__", "constructor", "", "é", "1"];
  return `{${space()}${items.map((item) => `${JSON.stringify(chance.pick(keys))}${space()}:${item}`).join(`,${space()}`)}}`;
};

const numeric: Sample = (chance) => {
  if (chance.once(4))
    return chance.pick(["NaN", "Infinity", "-Infinity", "0", "-0.000", "1e-200", "1e300", "0.00"]);
  const most = chance.pick([3, 20, 200, chance.once(20) ? 16_000 : 9]);
  const fraction = chance.once(2) ? `.${digits(chance, most)}` : "";
  return `${chance.once(2) ? "-" : ""}${digits(chance, most)}${fraction}`;
};

const integer =
  (bits: number): Sample =>
  (chance) => {
    const most = 2n ** BigInt(bits - 1);
    const edges = [-most, most - 1n, 0n, -1n, 1n, 10n ** BigInt(chance.below(19)), 2n ** 53n + 1n];
    return String(
      BigInt.asIntN(bits, chance.once(2) ? chance.pick(edges) : BigInt(digits(chance, 20))),
    );
  };

const float: Sample = (chance) =>
  chance.once(3)
    ? chance.pick([
        "NaN",
        "Infinity",
        "-Infinity",
        "-0",
        "5e-324",
        "1.7976931348623157e308",
        "1e15",
        "1e16",
        "1e22",
        "1e-5",
      ])
    : `${chance.once(2) ? "-" : ""}${digits(chance, 17)}.${digits(chance, 5)}e${chance.below(40) - 20}`;

const two = (value: number) => String(value).padStart(2, "0");
const day: Sample = (chance) => {
  const year = chance.pick([1, 44, 1582, 1900, 1970, 2000, 2024, 9999, 10_000, 200_000, 4000]);
  const era = year <= 4713 && chance.once(4) ? " BC" : "";
  return `${String(year).padStart(4, "0")}-${two(1 + chance.below(12))}-${two(1 + chance.below(28))}${era}`;
};
const clock: Sample = (chance) => {
  const fraction = chance.once(2) ? `.${digits(chance, 6)}` : "";
  return `${two(chance.below(24))}:${two(chance.below(60))}:${two(chance.below(60))}${fraction}`;
};
const zone = oneOf("+00", "-12", "+14", "+05:45", "-03:30", "+01:23:45");
const endless = oneOf("infinity", "-infinity");
const date: Sample = (chance) => (chance.once(8) ? endless(chance) : day(chance));
const timestamp: Sample = (chance) => {
  if (chance.once(8)) return endless(chance);
  const [text, era = ""] = day(chance).split(/(?= BC)/);
  return `${text} ${clock(chance)}${era}`;
};
const timestamptz: Sample = (chance) => {
  if (chance.once(8)) return endless(chance);
  const [text, era = ""] = day(chance).split(/(?= BC)/);
  return `${text} ${clock(chance)}${zone(chance)}${era}`;
};
const signed = (chance: Chance, most: number) => chance.below(2 * most) - most;
const interval: Sample = (chance) =>
  chance.once(6)
    ? chance.pick([
        "infinity",
        "-infinity",
        "0",
        "1 us",
        "-00:00:00.000001",
        "178000000 years",
        "-1 mon +1 day",
      ])
    : `${signed(chance, 300)} years ${signed(chance, 12)} mons ${signed(chance, 99)} days ${chance.once(2) ? "-" : ""}${clock(chance)}`;

const hex = (chance: Chance, bytes: number) => chance.bytes(bytes).toString("hex");
const bytea: Sample = (chance) => `\\x${hex(chance, chance.below(chance.pick([1, 4, 40, 3000])))}`;
const uuid: Sample = (chance) => hex(chance, 16);
const bits = (chance: Chance, length: number) =>
  Array.from({ length }, () => chance.below(2)).join("");
const inet: Sample = (chance) =>
  chance.pick([
    `10.${chance.below(256)}.0.1/${chance.below(33)}`,
    "::ffff:1.2.3.4",
    "fe80::1/64",
    "0.0.0.0/0",
  ]);
const coordinate: Sample = (chance) =>
  chance.pick(["0", "-0", "1.5", "1e300", "-1e-300", "Infinity", "NaN", "3.3"]);
const point: Sample = (chance) => `(${coordinate(chance)},${coordinate(chance)})`;
const points = (chance: Chance, count: number) =>
  Array.from({ length: count }, () => point(chance)).join(",");

const rangeOf =
  (bound: Sample): Sample =>
  (chance) => {
    if (chance.once(6)) return "empty";
    const [lower, upper] = [bound(chance), bound(chance)].map((text) => `"${text}"`);
    return `${chance.pick(["[", "("])}${chance.once(4) ? "" : lower},${chance.once(4) ? "" : upper}${chance.pick(["]", ")"])}`;
  };
const several =
  (range: Sample): Sample =>
  (chance) =>
    `{${Array.from({ length: chance.below(3) }, () => range(chance)).join(",")}}`;

const small = integer(16);
const ranges: Readonly<Record<string, Sample>> = {
  int4: rangeOf(small),
  int8: rangeOf(integer(64)),
  num: rangeOf(oneOf("-1.50", "0", "3e20", "NaN", "infinity")),
  date: rangeOf(date),
  ts: rangeOf(timestamp),
  tstz: rangeOf(timestamptz),
};

/** By type, as one writes it in SQL. */
export const samples: Readonly<Record<string, Sample>> = {
  bool: oneOf("t", "f"),
  int2: small,
  int4: integer(32),
  int8: integer(64),
  oid: oneOf("0", "1", "4294967295"),
  xid: oneOf("0", "4294967295"),
  xid8: oneOf("0", "18446744073709551615"),
  numeric,
  "numeric(40,12)": oneOf("1", "-0.5", "NaN", "12345678901234567890.123456789012"),
  float4: float,
  float8: float,
  text: nastyText,
  varchar: nastyText,
  "char(7)": oneOf("", "a  ", "é測🩺", '"', "\\."),
  '"char"': oneOf("", "x", "\\377", "\\001", '"'),
  name: oneOf("", "a", 'q"', "é".repeat(31)),
  citext: nastyText,
  bytea,
  date,
  time: (chance) => (chance.once(5) ? "24:00" : clock(chance)),
  timetz: (chance) => `${clock(chance)}${zone(chance)}`,
  timestamp,
  timestamptz,
  "timestamp(0)": timestamp,
  interval,
  uuid,
  json: jsonOf,
  jsonb: jsonOf,
  jsonpath: oneOf("$.a[*]", 'lax $."é" ? (@ > 1)', 'strict $.** ? (@ like_regex "x\\\\n")'),
  xml: oneOf('<a b="c">\n</a>', "text & no".replace("&", "&amp;"), "", "<!-- ü --><x/>"),
  inet,
  cidr: oneOf("10.0.0.0/8", "::/0", "2001:db8::/32"),
  macaddr: (chance) => hex(chance, 6),
  macaddr8: (chance) => hex(chance, 8),
  "bit(9)": (chance) => bits(chance, 9),
  varbit: (chance) => bits(chance, chance.below(70)),
  money: (chance) => `${signed(chance, 10 ** 9)}.${two(chance.below(100))}`,
  point,
  line: oneOf("{1,2,3}", "{-0.5,1e10,0}"),
  lseg: (chance) => `[${points(chance, 2)}]`,
  box: (chance) => points(chance, 2),
  path: (chance) => chance.pick([`[${points(chance, 3)}]`, `(${points(chance, 2)})`]),
  polygon: (chance) => `(${points(chance, 3)})`,
  circle: (chance) => `<${point(chance)},1.5>`,
  tsvector: oneOf("a:1A,2 'it''s' fat", "", "'\\\\':3 '\"' é"),
  tsquery: oneOf("a & !b | 'c d':*A", "a <2> b", ""),
  pg_lsn: oneOf("0/0", "16/B374D848", "FFFFFFFF/FFFFFFFF"),
  tid: oneOf("(0,1)", "(4294967295,65535)"),
  pg_snapshot: oneOf("10:20:10,14,15", "1:1:"),
  regclass: oneOf("pg_class", "0", "4000000000"),
  regtype: oneOf("int4[]", "text", "0"),
  regprocedure: oneOf("now()", "0"),
  regrole: oneOf("postgres", "0"),
  int2vector: oneOf("1 2 -3", ""),
  oidvector: oneOf("1 4294967295", ""),
  aclitem: oneOf("postgres=arwdDxt/postgres", "=r/postgres"),
  hstore: oneOf('a=>1,"b c"=>NULL', '"\\"q\\""=>"\\\\"', ""),
  types_mood: oneOf("good", 'so "so"'),
  types_mood_domain: oneOf("good"),
  types_score: oneOf("0", "12.50", "NaN"),
  types_moods: oneOf("{good}", "{}", '{good,NULL,"so \\"so\\""}'),
  types_pair: oneOf("(1,x,)", "(,,)", '(-7,"a ""b"", \n)","2024-02-29 23:59:59.5+05:45")'),
  types_span: rangeOf(timestamptz),
  types_cast: oneOf("(hidden)"),
  types_loud: oneOf("x"),
  ...Object.fromEntries(Object.entries(ranges).map(([name, range]) => [`${name}range`, range])),
  ...Object.fromEntries(
    Object.entries(ranges).map(([name, range]) => [`${name}multirange`, several(range)]),
  ),
};

/** The text of an array of these: flat, of two dimensions, of other bounds, with NULL in it. */
export function arrayOf(type: string, chance: Chance): string {
  const delimiter = type === "box" ? ";" : ",";
  const element = () =>
    chance.once(5) ? "NULL" : `"${samples[type]!(chance).replace(/["\\]/g, "\\$&")}"`;
  const flat = (length: number) => `{${Array.from({ length }, element).join(delimiter)}}`;
  const kind = chance.below(6);
  if (kind === 0) return `{${[flat(2), flat(2)].join(delimiter)}}`;
  if (kind === 1) return `[-1:1]=${flat(3)}`;
  return flat(chance.below(4));
}

/** Names of columns: what JavaScript, CSV, JSON and SQL would mind. */
export const nastyNames: readonly string[] = [
  ...wordsOf(
    "__proto__·constructor·toString·hasOwnProperty·__defineGetter__·then·prototype·length",
  ),
  ...wordsOf('a "b"·a,b·two\nlines·back\\slash·\\.·?column?·ключ 🔑·\u2028·c0·q· ·NULL'),
  ...wordsOf("\u0001·\t·$1·%s·${x}·`·'·;·--"),
  // 63 bytes in EUC_JP: the longest that no database cuts short.
  "é".repeat(21),
  "x".repeat(63),
];
