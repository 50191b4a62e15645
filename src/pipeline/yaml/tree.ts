/**
 * YAML text ↔ plain values, and the way back from a path to the line and column it was written at.
 *
 * YAML 1.2 core schema, one document, unique keys, no tags, no merge keys, few aliases. Numbers that JavaScript cannot
 * hold exactly are refused instead of rounded.
 */
import {
  isAlias,
  isMap,
  isScalar,
  isSeq,
  parseDocument,
  stringify,
  type Alias,
  type Node,
  type Pair,
  type Scalar,
  type YAMLMap,
} from "yaml";
import { assert } from "../../errors.ts";
import { printPlace, quote, refusal, type Locate, type Path, type Place } from "../problems.ts";
import { escapeControls, hasControls, findFlaw, limits, type Flaw } from "./scan.ts";
import { explainSyntax } from "./syntax.ts";

export interface YamlTree {
  /** Mappings, lists and scalars; null for a file without content. */
  readonly value: unknown;
  readonly locate: Locate;
}

/** Prints plain values so that `readYaml` gives them back. */
export function printYaml(value: unknown): string {
  // With quotes where a YAML 1.1 reader would see a boolean or a merge key.
  const options = { lineWidth: 0, aliasDuplicateObjects: false, compat: "yaml-1.1" } as const;
  const printed = stringify(value, options);
  if (!hasControls(printed)) return printed;
  const quoted = { defaultStringType: "QUOTE_DOUBLE", defaultKeyType: "QUOTE_DOUBLE" } as const;
  return escapeControls(stringify(value, { ...options, ...quoted }));
}

/**
 * Reads one YAML document.
 * @throws PipelineError `config-invalid`, each line beginning with `file:line:column: `.
 */
export function readYaml(text: string, file: string): YamlTree {
  const source = text.startsWith("\uFEFF") ? text.slice(1) : text;
  const flaw = findFlaw(source);
  if (flaw) throw flawsError([flaw], source, file);
  const document = parseDocument(source, {
    version: "1.2",
    schema: "core",
    merge: false,
    resolveKnownTags: false,
    strict: true,
    stringKeys: true,
    // Compares every key with every other; `readMap` does it with a set.
    uniqueKeys: false,
    prettyErrors: false,
  });
  const [error] = [...document.errors, ...document.warnings];
  // What follows the first syntax error is mostly its echo.
  if (error) throw flawsError([explainSyntax(error)], source, file);
  const reader = createReader();
  const value = reader.read(document.contents);
  if (reader.flaws.length > 0) throw flawsError(reader.flaws, source, file);
  const locate: Locate = (path, at = "value") =>
    placeAt(source, findOffset(document.contents, path, at, reader.targets), file);
  return { value, locate };
}

function flawsError(flaws: readonly Flaw[], source: string, file: string) {
  const places = flaws
    .toSorted((a, b) => a.offset - b.offset)
    .map(({ offset, message }) => ({ place: placeAt(source, offset, file), message }));
  const lines = new Set(places.map(({ place, message }) => `${printPlace(place)}: ${message}`));
  return refusal([...lines], places[0]?.place);
}

function placeAt(source: string, offset: number, file: string): Place {
  const before = source.slice(0, offset);
  return {
    file,
    line: before.split("\n").length,
    column: offset - before.lastIndexOf("\n"),
  };
}

/** Nodes to plain values, with what is wrong on the way. */
function createReader() {
  const flaws: Flaw[] = [];
  const anchors = new Map<string, Node>();
  const targets = new Map<Alias, Node>();
  const open = new Set<Node>();
  let copies = 0;
  /** The alias whose copy is being made; aliases inside it are part of that copy. */
  let copied: Alias | undefined;

  const blame = (node: Node, message: string) => {
    flaws.push({ offset: node.range?.[0] ?? 0, message });
    return null;
  };

  const readAlias = (alias: Alias): unknown => {
    const target = targets.get(alias) ?? anchors.get(alias.source);
    if (!target) return blame(alias, `no anchor &${alias.source} stands before this alias`);
    targets.set(alias, target);
    if (open.has(target)) return blame(alias, `the alias *${alias.source} contains itself`);
    copies += 1;
    if (copies > limits.aliases)
      return blame(
        copied ?? alias,
        `aliases make more than ${limits.aliases} copies; write the values out`,
      );
    const outer = copied;
    copied ??= alias;
    const value = read(target);
    copied = outer;
    return value;
  };

  const readMap = (map: YAMLMap): unknown => {
    const entries: [string, unknown][] = [];
    const seen = new Set<string>();
    for (const pair of map.items as Pair<Scalar, Node | null>[]) {
      const key = pair.key.value as string;
      if (key === "<<" && pair.key.type === "PLAIN")
        blame(pair.key, "merge keys (<<) are not accepted; write the keys out");
      if (seen.has(key)) blame(pair.key, `the key ${quote(key)} is written twice`);
      seen.add(key);
      entries.push([key, read(pair.value)]);
    }
    // Defines own properties, so that `__proto__` is a key like any other.
    return Object.fromEntries(entries);
  };

  const readScalar = (scalar: Scalar): unknown => {
    const { value } = scalar;
    if (typeof value === "number" && !isExact(value))
      return blame(scalar, "the number cannot be held exactly; put it in quotes");
    return value;
  };

  function read(node: Node | null): unknown {
    if (node === null) return null;
    if (isAlias(node)) return readAlias(node);
    if (node.anchor !== undefined && !copied) anchors.set(node.anchor, node);
    if (isScalar(node)) return readScalar(node);
    open.add(node);
    const value = isSeq(node) ? node.items.map((item) => read(item as Node)) : readMap(node);
    open.delete(node);
    return value;
  }

  return { flaws, targets, read };
}

/** Integers beyond 2^53 and infinities would reach the query as another number. */
function isExact(value: number): boolean {
  return Number.isFinite(value) && (!Number.isInteger(value) || Number.isSafeInteger(value));
}

function findOffset(
  root: Node | null,
  path: Path,
  at: "key" | "value",
  targets: ReadonlyMap<Alias, Node>,
): number {
  let node = root;
  let offset = root?.range?.[0] ?? 0;
  for (const [depth, part] of path.entries()) {
    const parent: Node | null | undefined = isAlias(node) ? targets.get(node) : node;
    let key: Scalar | undefined;
    if (isSeq(parent) && typeof part === "number") node = (parent.items[part] as Node) ?? null;
    else if (isMap(parent)) {
      const pair = (parent.items as Pair<Scalar, Node | null>[]).find((p) => p.key.value === part);
      if (!pair) break;
      key = pair.key;
      node = pair.value;
    } else break;
    const isEmpty = !node?.range || node.range[0] === node.range[1];
    const wantsKey = isEmpty || (at === "key" && depth === path.length - 1);
    offset = (wantsKey ? key?.range?.[0] : undefined) ?? node?.range?.[0] ?? offset;
  }
  assert(Number.isInteger(offset), "a node of parsed YAML has a range");
  return offset;
}
