/**
 * A pipeline file: YAML → spec, spec → YAML. Both ways are the identity on specs.
 *
 * The spec is as the user wrote it: a list of stages, defaults not filled in, references (`${env:…}`) not resolved.
 * `validateSpec` says whether it makes sense, and `locate` where in the file something stands.
 */
import { dirname, resolve } from "node:path";
import { PipelineError, systemCode } from "../errors.ts";
import { checkConfig } from "./check-config.ts";
import { problemsError, printPlace, refusal, type Locate, type Place } from "./problems.ts";
import { isMapping } from "./references.ts";
import { specSchema, type PipelineSpec } from "./spec.ts";
import { withFile, withoutWaiting } from "./with-file.ts";
import { limits, tooLarge } from "./yaml/scan.ts";
import { printYaml, readYaml } from "./yaml/tree.ts";

export interface LoadedPipeline {
  /** Untouched but for one thing: a bare `- name` in `stages` reads as `- name:`. */
  readonly spec: PipelineSpec;
  /** The file's folder, absolute: what relative paths in the file start from. */
  readonly baseDir: string;
  readonly locate: Locate;
  /** Empty: in a file, stages of one's own stand by the path of their module. It makes this a `Pipeline` to run. */
  readonly customStages: ReadonlyMap<string, never>;
}

const customStages: ReadonlyMap<string, never> = new Map<string, never>();

/**
 * Reads a pipeline file: UTF-8, at most 1 MiB.
 * @throws PipelineError `input-missing` when there is no such file; `config-invalid` otherwise.
 */
export async function loadPipeline(path: string): Promise<LoadedPipeline> {
  return parsePipeline(decode(await readBounded(path), path), path);
}

/**
 * Reads the text of a pipeline; `fileName` is for messages and for `baseDir`.
 * @throws PipelineError `config-invalid`, each line beginning with `file:line:column: `.
 */
export function parsePipeline(text: string, fileName: string): LoadedPipeline {
  const { value, locate } = readYaml(text, fileName);
  if (!isMapping(value)) {
    const message = "expected a mapping with the keys `name` and `stages`";
    throw problemsError([{ path: [], message }], locate);
  }
  const { stages } = value;
  const spec = Array.isArray(stages) ? { ...value, stages: stages.map(readStage) } : value;
  if (!hasStages(spec))
    throw problemsError(checkConfig(specSchema, spec, [], "none").problems, locate);
  return { spec, baseDir: dirname(resolve(fileName)), locate, customStages };
}

/** The YAML of a spec; reading it gives an equal spec. */
export function printPipeline(spec: PipelineSpec): string {
  return printYaml(spec);
}

/** A spec by its form alone, so that it can be walked; whether it makes sense is told with what its stages say. */
function hasStages(spec: Readonly<Record<string, unknown>>): spec is PipelineSpec {
  return Array.isArray(spec["stages"]) && spec["stages"].every(isMapping);
}

function readStage(entry: unknown): unknown {
  return typeof entry === "string" ? { [entry]: null } : entry;
}

async function readBounded(path: string): Promise<Buffer> {
  try {
    return await withFile(path, withoutWaiting, async (file) => {
      const stat = await file.stat();
      if (!stat.isFile()) throw new PipelineError("config-invalid", `${path}: expected a file`);
      return Buffer.concat(
        await Array.fromAsync(file.createReadStream({ end: limits.characters })),
      );
    });
  } catch (error) {
    if (error instanceof PipelineError) throw error;
    const reason = systemCode(error);
    const message =
      reason === "ENOENT" ? "no such file" : `cannot be read (${reason ?? "unknown reason"})`;
    throw new PipelineError("input-missing", `${path}: ${message}; expected a pipeline in YAML`);
  }
}

const refuseAt = (place: Place, message: string) =>
  refusal([`${printPlace(place)}: ${message}`], place);

function decode(bytes: Buffer, file: string): string {
  if (bytes.length > limits.characters) throw refuseAt({ file, line: 1, column: 1 }, tooLarge);
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    const before = bytes.toString("utf8").split("\uFFFD", 1)[0] ?? "";
    const line = before.split("\n").length;
    const column = before.length - before.lastIndexOf("\n");
    throw refuseAt({ file, line, column }, "expected UTF-8 text");
  }
}
