/** The documentation is true: its YAML is planned, its mistakes print what it says they print, its links lead somewhere. */
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { readFile, readdir } from "node:fs/promises";
import { dirname, join } from "node:path";
import { PipelineError } from "../src/errors.ts";
import { parsePipeline } from "../src/pipeline/load.ts";
import { planPipeline } from "../src/pipeline/plan.ts";
import { registry } from "../src/stages/registry.ts";

const root = join(import.meta.dirname, "..");

interface Block {
  /** Of its first line in the page, from 1. */
  readonly line: number;
  readonly yaml: string;
  /** What a block of text right behind it says that its mistakes print. */
  readonly printed: string | undefined;
}

function blocksOf(page: string): Block[] {
  const found = page.matchAll(/^```ya?ml\n(.*?)^```\n(?:\n```text\n(export\.yaml:.*?)\n```)?/gms);
  return Array.from(found, ({ index, 1: yaml = "", 2: printed }) => ({
    line: page.slice(0, index).split("\n").length + 1,
    yaml,
    printed,
  }));
}

/** What stands around a part of a pipeline that a page shows by itself. */
const around = [
  '- ndjson: "-"',
  "- serialize: ndjson",
  "- chunk",
  "- compress: none",
  "- encrypt: none",
  "- spool",
  "- upload: ./exports",
];
const nameOf = (entry = "") => /^- ([^:\s]+)/.exec(entry)?.[1] ?? "";

/** Where in it a stage stands: a source's place, a place of its own, or between the source and the rest. */
function placeOf(name: string): number {
  if (registry.get(name)?.takes === "nothing") return 0;
  const place = around.findIndex((entry) => nameOf(entry) === name);
  return place === -1 ? 0.5 : place;
}

/** The pipeline of a block, whole, with each of its lines where the page has it. */
function wholeOf({ yaml, line }: Block): string {
  const join = (above: readonly string[], below: readonly string[]) => {
    assert.ok(above.length < line, "a part of a pipeline stands too high in its page");
    return [...Array(line - 1 - above.length).fill(""), ...above, yaml, ...below].join("\n");
  };
  if (/^stages:/m.test(yaml)) return join([], []);
  const head = ["name: part", "memory: 128MiB", "stages:"];
  const entries = yaml.split("\n").filter((text) => text.startsWith("- "));
  if (entries.length === 0) return join([], [...head, ...around]);
  const [first, last] = [placeOf(nameOf(entries[0])), placeOf(nameOf(entries.at(-1)))];
  const before = around.filter((_, place) => place < first);
  const behind = around.filter((_, place) => place > last);
  return join([...head, ...before], behind);
}

/** What `plan`, or `check` without an environment, says of a file; nothing when it is taken. */
async function tell(
  yaml: string,
  file: string,
  resolve: "none" | "full" = "none",
): Promise<string | undefined> {
  try {
    // Modules of the reader's own are those of the examples.
    const pipeline = { ...parsePipeline(yaml, file), baseDir: join(root, "examples") };
    await planPipeline(pipeline, { resolve, env: {} });
  } catch (error) {
    assert.ok(error instanceof PipelineError, String(error));
    return error.message;
  }
  return undefined;
}

/** What is wrong in a page; each with the page and, as far as it is a block's, the line. */
async function mistakesIn(page: string, file: string): Promise<string[]> {
  const mistakes: string[] = [];
  for (const block of blocksOf(page)) {
    const { yaml, line, printed } = block;
    if (printed === undefined) {
      const told = await tell(wholeOf(block), file);
      if (told !== undefined)
        mistakes.push(told.startsWith(`${file}:`) ? told : `${file}:${line}: ${told}`);
      continue;
    }
    const told = [await tell(yaml, "export.yaml"), await tell(yaml, "export.yaml", "full")];
    if (!told.includes(printed))
      mistakes.push(`${file}:${line}: plan and check print, other than said: ${told.join(" · ")}`);
  }
  return mistakes;
}

describe("the documentation", () => {
  const pages = new Map<string, string>();
  before(async () => {
    const docs = (await readdir(join(root, "docs"))).map((name) => `docs/${name}`);
    for (const file of [...(await readdir(root)), ...docs, "bench/RESULTS.md", "bench/README.md"])
      if (file.endsWith(".md")) pages.set(file, await readFile(join(root, file), "utf8"));
  });

  it("shows YAML that is planned, and mistakes that print what it says", async () => {
    const blocks = [...pages.values()].flatMap(blocksOf);
    assert.ok(blocks.length >= 20);
    assert.equal(blocks.filter(({ printed }) => printed !== undefined).length, 4);
    const mistakes: string[] = [];
    for (const [file, page] of pages) mistakes.push(...(await mistakesIn(page, file)));
    assert.deepEqual(mistakes, []);
  });

  it("would not get away with others: they are told with their page and line", async () => {
    const shown = (yaml: string, printed = "") => `\n#\n\`\`\`yaml\n${yaml}\n\`\`\`\n${printed}`;
    const above = "\n".repeat(10);
    const wrong: [string, RegExp][] = [
      [shown("name: x\nstages:\n  - nosuch: 1"), /^page\.md:6:5: .*unknown stage "nosuch"/],
      [above + shown("- filter: { column: a, nott: b }"), /page\.md:14:24: .*unknown key "nott"/],
      [above + shown("- watermark:\n    column: a"), /^page\.md:14:3: .*unknown stage "watermark"/],
      [shown("telemetri:\n  otlp: a"), /^page\.md:4:1: .*unknown key "telemetri"/],
      [above + shown("- lookup:\n    maxRows: 5\n- chunk: 9GiB"), /^page\.md:1[45]:/],
      [
        shown(["name: x", "memory: 20MiB", "stages:", ...around].join("\n")),
        /^page\.md:5:9: memory/,
      ],
      [shown("a: 1", "\n```text\nexport.yaml:1:1: b\n```\n"), /^page\.md:4: plan and check print/],
    ];
    for (const [page, expected] of wrong) {
      const [mistake = "", ...others] = await mistakesIn(page, "page.md");
      assert.match(mistake, expected);
      assert.deepEqual(others, []);
    }
  });

  it("leads to files that are there", () => {
    for (const [file, page] of pages) {
      const links = page.matchAll(/\]\((?!\w+:)([^)#\s]+)[^)\s]*\)/g);
      const named = page.matchAll(/(?<![\w./-])examples\/[\w-]+\.\w+/g);
      const paths = [
        ...Array.from(links, ([, link = ""]) => join(root, dirname(file), link)),
        ...Array.from(named, ([path]) => join(root, path)),
      ];
      assert.deepEqual(
        paths.filter((path) => !existsSync(path)),
        [],
        file,
      );
    }
  });
});
