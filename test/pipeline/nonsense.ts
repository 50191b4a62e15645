/** Pipeline files nobody should write, and the first line each is refused with. */

const bomb = `a: &a [x, x]\n${"bcdefghijklmnop"
  .split("")
  .map((name, i) => `${name}: &${name} [*${"abcdefghijklmnop"[i]}, *${"abcdefghijklmnop"[i]}]`)
  .join("\n")}\n`;
const nestedCopies = `a: &a [x]
b: &b [*a, *a, *a]
c: &c [*b, *b, *b]
d: &d [*c, *c, *c]
`;
export const inStage = (config: string) => `name: x\nstages:\n  - ${config}\n`;

/** [what, text, first line of the error] */
export const nonsense: [string, string, string | RegExp][] = [
  ["an empty file", "", "x.yaml:1:1: expected a mapping with the keys `name` and `stages`"],
  [
    "only comments",
    "# a\n# b\n",
    "x.yaml:1:1: expected a mapping with the keys `name` and `stages`",
  ],
  ["a list", "- a\n", "x.yaml:1:1: expected a mapping with the keys `name` and `stages`"],
  ["a scalar", "export", "x.yaml:1:1: expected a mapping with the keys `name` and `stages`"],
  [
    "a tab",
    "name: x\nstages:\n\t- page\n",
    "x.yaml:3:1: tab in the indentation; YAML indents with spaces",
  ],
  ["an alias bomb", bomb, /^x\.yaml:12:8: more than 20 aliases/],
  ["copies of copies", nestedCopies, /^x\.yaml:4:\d+: aliases make more than 20 copies; write/],
  ["an alias of itself", "name: &x [*x]\n", "x.yaml:1:11: the alias *x contains itself"],
  ["an unknown alias", "name: *y\n", "x.yaml:1:7: no anchor &y stands before this alias"],
  [
    "a merge key",
    "a: &a {b: 1}\nc:\n  <<: *a\n",
    "x.yaml:3:3: merge keys (<<) are not accepted; write the keys out",
  ],
  [
    "a tag",
    "name: !!js/function x\n",
    "x.yaml:1:7: tags (!…) are not accepted; expected plain YAML 1.2 values",
  ],
  ["a core tag", "name: !!str x\n", /^x\.yaml:1:7: tags/],
  [
    "a YAML 1.1 directive",
    "%YAML 1.1\n---\nname: x\n",
    "x.yaml:1:1: directives (%YAML, %TAG) are not accepted",
  ],
  ["a key twice", "name: x\nname: y\n", 'x.yaml:2:1: the key "name" is written twice'],
  [
    "two documents",
    "name: x\n---\nname: y\n",
    "x.yaml:2:1: a second document starts here; expected one pipeline per file",
  ],
  ["a document after an end", "name: x\n...\nname: y\n", /^x\.yaml:3:1: a second document/],
  ["wrong indentation", "name: x\nstages:\n    - page\n  - page\n", /^x\.yaml:4:\d: /],
  ["a colon in a text", "name: a: b\n", /^x\.yaml:1:7: a second `key:` on one line/],
  ["an open quote", 'name: "x\n', /^x\.yaml:2:1: something is missing here: a closing quote/],
  ["an open bracket", "name: [a, b\n", /^x\.yaml:\d:\d+: /],
  ["an at sign", "name: @x\n", /^x\.yaml:1:7: a plain text cannot begin with this character/],
  ["an unknown escape", 'name: "\\q"\n', /^x\.yaml:1:8: unknown escape in double quotes/],
  ["a mapping as key", "? {a: b}\n: c\n", "x.yaml:1:3: expected a key that is a plain text"],
  [
    "a NUL",
    "name: a\0b\n",
    "x.yaml:1:8: control character; expected a text file, escapes in double quotes",
  ],
  ["an escape sequence", "name: \u001b[31mx\n", /^x\.yaml:1:7: control character/],
  ["deep brackets", `name: ${"[".repeat(10_000)}`, "x.yaml:1:70: nested more than 64 levels deep"],
  ["deep dashes", "- ".repeat(10_000), "x.yaml:1:129: nested more than 64 levels deep"],
  [
    "deep mappings",
    Array.from({ length: 1000 }, (_, i) => `${" ".repeat(i)}a:`).join("\n"),
    /^x\.yaml:65:65: nested/,
  ],
  [
    "10 MB",
    `name: ${"x".repeat(1e7)}`,
    "x.yaml:1:1: the file is larger than 1 MiB; expected the few kilobytes a pipeline has",
  ],
  ["many brackets", `name: [${",".repeat(500_000)}`, /^x\.yaml:1:\d+: more than 20000 YAML tokens/],
  ["many lines", "- a\n".repeat(200_000), /^x\.yaml:\d+:\d+: more than 20000 YAML tokens/],
  ["many quotes", '"'.repeat(1_000_000), /^x\.yaml:1:\d+: nested/],
  [
    "a huge integer",
    inStage("page: 9007199254740993"),
    "x.yaml:3:11: the number cannot be held exactly; put it in quotes",
  ],
  [
    "infinity",
    inStage("page: .inf"),
    "x.yaml:3:11: the number cannot be held exactly; put it in quotes",
  ],
  ["NaN", inStage("page: .nan"), /^x\.yaml:3:11: /],
  ["an overflow", inStage("page: 1e999"), /^x\.yaml:3:11: /],
  [
    "no name",
    "stages: [page]\n",
    'x.yaml:1:1: missing key "name": names the pipeline, its folder at the destination and its spool',
  ],
  [
    "no stages",
    "name: x\n",
    'x.yaml:1:1: missing key "stages": the stages in the order data takes',
  ],
  [
    "a number as name",
    "name: 12\nstages: [page]\n",
    "x.yaml:1:7: name: expected a name, found a number",
  ],
  [
    "a bad name",
    "name: My Export\nstages: [page]\n",
    /^x\.yaml:1:7: name: expected 1 to 63 of a-z/,
  ],
  ["no stage at all", "name: x\nstages: []\n", "x.yaml:2:9: stages: expected at least one stage"],
  [
    "a mapping of stages",
    "name: x\nstages:\n  page: 1MiB\n",
    "x.yaml:3:3: stages: expected a list of stages, found a mapping",
  ],
  [
    "an unknown top key",
    "nmae: x\nname: x\nstages: [page]\n",
    'x.yaml:1:1: nmae: unknown key "nmae"; did you mean "name"?',
  ],
  [
    "__proto__",
    "__proto__: { a: 1 }\nname: x\nstages: [page]\n",
    'x.yaml:1:1: __proto__: unknown key "__proto__"; known keys are name, memory, stages, sign, telemetry, schedule',
  ],
  [
    "constructor",
    "name: x\nstages: [page]\nconstructor: 1\n",
    /^x\.yaml:3:1: constructor: unknown key "constructor"/,
  ],
  [
    "__proto__ as a stage",
    inStage("__proto__: 1"),
    /^x\.yaml:3:5: stages\[0\]\.__proto__: unknown stage "__proto__"/,
  ],
  [
    "__proto__ in a stage",
    inStage("page: { __proto__: 1 }"),
    /^x\.yaml:3:13: stages\[0\]\.page\.__proto__: unknown key/,
  ],
  [
    "an unknown stage",
    inStage("pgae: 1MiB"),
    'x.yaml:3:5: stages[0].pgae: unknown stage "pgae"; did you mean "page"?',
  ],
  [
    "a far stage",
    inStage("elephant: 1"),
    'x.yaml:3:5: stages[0].elephant: unknown stage "elephant"; known stages are source, page, squeeze, seal',
  ],
  [
    "an unknown config key",
    inStage("page: { sise: 1MiB }"),
    'x.yaml:3:13: stages[0].page.sise: unknown key "sise"; did you mean "size"?',
  ],
  [
    "an unknown nested key",
    inStage("source: { url: a, query: b, options: { limitt: 1 } }"),
    'x.yaml:3:44: stages[0].source.options.limitt: unknown key "limitt"; did you mean "limit"?',
  ],
  [
    "an unknown telemetry key",
    "name: x\nstages: [page]\ntelemetry:\n  oltp: a\n",
    'x.yaml:4:3: telemetry.oltp: unknown key "oltp"; did you mean "otlp"?',
  ],
  [
    "two stages in one",
    "name: x\nstages:\n  - page:\n    size: 1MiB\n",
    /^x\.yaml:4:5: stages\[0\]\.size: expected one stage, found "page" and "size"; indent/,
  ],
  ["an empty stage", inStage("{}"), "x.yaml:3:5: stages[0]: expected the name of a stage"],
  ["a number as stage", inStage("12"), "x.yaml:3:5: stages[0]: expected a mapping, found a number"],
  [
    "a wrong unit",
    inStage("page: 1Mib"),
    'x.yaml:3:11: stages[0].page.size: expected a size such as 1MiB, 64KB or 4096 (bytes); did you mean the unit "MiB"?',
  ],
  [
    "a long unit",
    inStage("page: { wait: 30 seconds }"),
    'x.yaml:3:19: stages[0].page.wait: expected a duration such as 30s, 5m or 250ms; did you mean the unit "s"?',
  ],
  [
    "a negative size",
    "name: x\nmemory: -1\nstages: [page]\n",
    "x.yaml:2:9: memory: expected at least 1 byte",
  ],
  [
    "half a byte",
    "name: x\nmemory: 0.5\nstages: [page]\n",
    "x.yaml:2:9: memory: expected a whole number of bytes",
  ],
  [
    "a small page",
    inStage("page: 1KiB"),
    "x.yaml:3:11: stages[0].page.size: expected at least 4KiB",
  ],
  [
    "a long wait",
    inStage("page: { wait: 30d }"),
    "x.yaml:3:19: stages[0].page.wait: expected less than 24 days",
  ],
  [
    "an unknown word",
    inStage("squeeze: gizp"),
    'x.yaml:3:14: stages[0].squeeze.codec: expected zstd, gzip or none; did you mean "gzip"?',
  ],
  [
    "a list for a word",
    inStage("squeeze: [zstd]"),
    "x.yaml:3:14: stages[0].squeeze.codec: expected zstd, gzip or none, found a list",
  ],
  [
    "a missing key",
    inStage("source: { query: a }"),
    'x.yaml:3:13: stages[0].source: missing key "url": where the database is',
  ],
  [
    "a stage without its config",
    inStage("squeeze:"),
    'x.yaml:3:5: stages[0].squeeze: missing key "codec"',
  ],
  [
    "a text for a mapping",
    inStage("source: postgres"),
    "x.yaml:3:13: stages[0].source: expected the settings of source as a mapping, one `key: value` a line",
  ],
  [
    "an empty text",
    inStage("source: { url: '', query: a }"),
    "x.yaml:3:20: stages[0].source.url: expected a text that is not empty",
  ],
  [
    "yes for true",
    inStage("source: { url: a, query: b, options: { ssl: yes } }"),
    "x.yaml:3:49: stages[0].source.options.ssl: expected true or false, found a text",
  ],
  [
    "a quoted number",
    inStage('source: { url: a, query: b, options: { limit: "5" } }'),
    "x.yaml:3:51: stages[0].source.options.limit: expected a number, found a text",
  ],
  [
    "a text for a list",
    inStage("source: { url: a, query: b, params: c }"),
    "x.yaml:3:41: stages[0].source.params: expected a list, found a text",
  ],
  [
    "a list for a mapping",
    inStage("source: { url: a, query: b, options: [] }"),
    "x.yaml:3:42: stages[0].source.options: expected a mapping, found a list",
  ],
  [
    "a list for the telemetry",
    "name: x\nstages: [page]\ntelemetry: [light]\n",
    "x.yaml:3:12: telemetry: expected a mapping, found a list",
  ],
  [
    "a bad key in a union",
    inStage("seal: { to: [age1a, bob] }"),
    "x.yaml:3:25: stages[0].seal.to[1]: expected a public key",
  ],
  [
    "no form of a union",
    inStage("seal: {}"),
    "x.yaml:3:11: stages[0].seal: expected `to` or `token`",
  ],
  [
    "two forms of a union",
    inStage("seal: { to: [age1a], token: 123456789012 }"),
    /^x\.yaml:3:\d+: stages\[0\]\.seal/,
  ],
  [
    "an unknown reference",
    inStage("page: ${foo}"),
    "x.yaml:3:11: stages[0].page: unknown reference; known are ${env:NAME}, ${env:NAME:-default} and ${file:path}; write $${ for a plain ${",
  ],
  [
    "an open reference",
    inStage("source: { url: '${env:X', query: a }"),
    /^x\.yaml:3:20: stages\[0\]\.source\.url: a reference \$\{ without its \}/,
  ],
];
