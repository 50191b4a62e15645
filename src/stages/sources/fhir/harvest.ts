/**
 * The resources of one document (a page of a search, a file of an export), in batches. When the document breaks off and
 * is read again from its start, what was given on already is compared and passed over.
 */
import { createHash, hash, type Hash } from "node:crypto";
import { PipelineError } from "../../../errors.ts";
import { createResourceBuffer } from "./resource-buffer.ts";
import { readResource, type Resource } from "./resource-reader.ts";

/** Bytes of resources that are passed on together. */
export const batchBytes = 64 * 1024;
const lineFeed = "\n";

export interface Mark {
  /** Type, id and version, or what stands for it; undefined for a resource without an id, which nothing can be a copy of. */
  readonly identity: string | undefined;
  /** It came with others and was not searched for itself. */
  readonly included: boolean;
}

/** Resources back to back, a line feed behind each; valid until the next are asked for. */
export interface Resources {
  readonly bytes: Uint8Array;
  readonly ends: Uint32Array;
  readonly marks: readonly Mark[];
}

/** What becomes of a resource; `none` is no data. */
export type Verdict = "match" | "include" | "none";

const notResources = {
  broken: "broken JSON",
  "not UTF-8": "not valid UTF-8",
  untyped: "no resourceType; expected a FHIR resource",
};

export class Harvest {
  readonly buffer = createResourceBuffer();
  readonly #where: string;
  readonly #isPartial: boolean;
  #marks: Mark[] = [];
  #given = 0;
  #isBare = true;
  /** Of what was given, a line feed behind each. */
  readonly #digest = createHash("sha256");
  /** How much of the buffer's whole resources is in it. */
  #digestedBytes = 0;
  #read = 0;
  #again: Hash | undefined;

  /**
   * @param where for messages, such as `page 3`
   * @param isPartial whether parts of resources were asked for
   */
  constructor(where: string, isPartial = false) {
    this.#where = where;
    this.#isPartial = isPartial;
  }

  /** Resources of the document that were given on, or are about to be. */
  get given(): number {
    return this.#given;
  }

  /** Whether the document had no data so far. */
  get isBare(): boolean {
    return this.#isBare;
  }

  /** What tells the document's resources from those of another; ask for it when all are taken. */
  contents(): string {
    return this.#digest.copy().digest("base64");
  }

  /** Whether all that is read from here on is new. */
  get isCurrent(): boolean {
    return this.#again === undefined;
  }

  /** The document is read, or read again, from its start. */
  begin(): void {
    this.buffer.drop();
    this.#read = 0;
    this.#again = this.#given > 0 ? createHash("sha256") : undefined;
  }

  /** The document is read on behind the last resource that was given. */
  resume(): void {
    this.buffer.drop();
    this.#read = this.#given;
    this.#again = undefined;
  }

  /**
   * Takes the resource under way in the buffer, which is whole.
   * @param known what was read of it already
   * @throws PipelineError `source-bad-data`, `source-changed`
   */
  accept(judge: (resource: Resource) => Verdict, known?: Resource): void {
    const { buffer } = this;
    const bytes = buffer.view();
    this.#read += 1;
    if (this.#again) {
      this.#again.update(bytes).update(lineFeed);
      buffer.drop();
      if (this.#read === this.#given) this.#requireSame(this.#again);
      return;
    }
    const resource = known ?? this.#parse(bytes);
    const verdict = judge(resource);
    this.#given += 1;
    if (verdict === "none") {
      this.#digestWhole();
      this.#digest.update(bytes).update(lineFeed);
      return buffer.drop();
    }
    this.#isBare = false;
    const identity = identify(resource, bytes, this.#isPartial);
    this.#marks.push({ identity, included: verdict === "include" });
    buffer.keep();
  }

  get isFull(): boolean {
    return this.#marks.length > 0 && this.buffer.length >= batchBytes;
  }

  /** The whole resources so far, if any; afterwards they are forgotten. */
  *take(): Generator<Resources> {
    const marks = this.#marks;
    if (marks.length === 0) return;
    this.#marks = [];
    this.#digestWhole();
    yield { ...this.buffer.whole(), marks };
    this.buffer.reset();
    this.#digestedBytes = 0;
  }

  /** Call at the document's end. @throws PipelineError `source-changed` */
  finish(): void {
    if (this.#read < this.#given) throw this.#changed();
  }

  /** An error of the resource that is read. */
  broken(what: string): PipelineError {
    return new PipelineError("source-bad-data", `${this.#where}, resource ${this.#read}: ${what}`);
  }

  /** Many at once: a call for each costs more than its bytes. */
  #digestWhole(): void {
    const { bytes } = this.buffer.whole();
    this.#digest.update(bytes.subarray(this.#digestedBytes));
    this.#digestedBytes = bytes.length;
  }

  #parse(bytes: Uint8Array): Resource {
    const resource = readResource(bytes);
    if (typeof resource === "object") return resource;
    throw this.broken(notResources[resource]);
  }

  #requireSame(again: Hash): void {
    this.#digestWhole();
    if (!again.digest().equals(this.#digest.copy().digest())) throw this.#changed();
    this.#again = undefined;
  }

  #changed(): PipelineError {
    return new PipelineError(
      "source-changed",
      `${this.#where} broke off, and read again it has other resources; run again, best while nobody writes, or discard the unfinished run with --restart`,
    );
  }
}

function identify(
  { resourceType, id, meta }: Resource,
  bytes: Uint8Array,
  isPartial: boolean,
): string | undefined {
  if (typeof id !== "string") return undefined;
  const version = meta?.versionId;
  // Without versions only the same content is a copy; and a version has many parts.
  const isTold = typeof version === "string" && !isPartial && !isSubset(meta?.tag);
  return `${resourceType}/${id}/${isTold ? version : hash("sha256", bytes, "base64")}`;
}

const isSubset = (tags: unknown): boolean =>
  Array.isArray(tags) && tags.some((tag: { code?: unknown } | null) => tag?.code === "SUBSETTED");
