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
  readonly #digest = createHash("sha256");
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

  /** Takes the resource under way in the buffer, which is whole. @throws PipelineError `source-bad-data`, `source-changed` */
  accept(judge: (resource: Resource) => Verdict): void {
    const { buffer } = this;
    this.#read += 1;
    if (this.#again) {
      this.#again.update(buffer.view());
      buffer.drop();
      if (this.#read === this.#given) this.#requireSame(this.#again);
      return;
    }
    const resource = this.#parse();
    const verdict = judge(resource);
    this.#digest.update(buffer.view());
    this.#given += 1;
    if (verdict === "none") return buffer.drop();
    this.#marks.push({
      identity: identify(resource, buffer.view(), this.#isPartial),
      included: verdict === "include",
    });
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
    yield { ...this.buffer.whole(), marks };
    this.buffer.reset();
  }

  /** Call at the document's end. @throws PipelineError `source-changed` */
  finish(): void {
    if (this.#read < this.#given) throw this.#changed();
  }

  /** An error of the resource that is read. */
  broken(what: string): PipelineError {
    return new PipelineError("source-bad-data", `${this.#where}, resource ${this.#read}: ${what}`);
  }

  #parse(): Resource {
    const resource = readResource(this.buffer.view());
    if (typeof resource === "object") return resource;
    throw this.broken(notResources[resource]);
  }

  #requireSame(again: Hash): void {
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
