/**
 * Which object names are safe to use as a path, a key and a tar entry alike. Names may come from a manifest somebody
 * else wrote, so every destination asks here before it touches anything.
 */
import { PipelineError } from "../../errors.ts";

/** Folders of an export lie two deep; who lists deeper goes round in a circle. */
export const mostDepth = 20;

/** Prefix of files that are still being written; never listed, never a name. */
export const incomingPrefix = ".incoming-";

/** How a link, a pipe or the like is listed: as no object of an export is called, so that it is told of and nobody's. */
export const noFile = (name: string): string => `${name} (no file)`;

// S3 keys end at 1024 bytes; a file name in a folder ends at 255.
const longestNameBytes = 900;
const longestSegmentBytes = 255;

/**
 * Splits a name into its segments.
 * @throws PipelineError `config-invalid` for a name that is absolute, empty, climbs (`..`), holds control characters
 * or is too long for one of the destinations.
 */
export function segmentsOf(name: string): string[] {
  const segments = name.split("/");
  const safe =
    name.isWellFormed() &&
    Buffer.byteLength(name) <= longestNameBytes &&
    !hasControls(name) &&
    segments.every(isSafeSegment);
  if (!safe) {
    throw new PipelineError(
      "config-invalid",
      `object name ${JSON.stringify(name.slice(0, 100))} is not safe; expected relative segments ` +
        "joined by `/`, without `..`, control characters or more than 255 bytes in one segment",
    );
  }
  return segments;
}

/** The segments of a folder, where `""` is the destination itself; a trailing `/` is allowed. */
export function folderSegmentsOf(folder: string): string[] {
  const bare = folder.endsWith("/") ? folder.slice(0, -1) : folder;
  return bare === "" ? [] : segmentsOf(bare);
}

function hasControls(name: string): boolean {
  // oxlint-disable-next-line eslint/no-control-regex
  return /[\u0000-\u001f\u007f]/.test(name);
}

function isSafeSegment(segment: string): boolean {
  return (
    segment !== "" &&
    segment !== "." &&
    segment !== ".." &&
    !segment.startsWith(incomingPrefix) &&
    Buffer.byteLength(segment) <= longestSegmentBytes
  );
}

// oxlint-disable-next-line eslint/no-control-regex
const ascii = /^[\u0000-\u007f]*$/;

/** Name order everywhere: by UTF-8 bytes, as object stores list and `LC_ALL=C sort` sorts. */
export function compareNames(left: string, right: string): number {
  // Most are, and need no copy to be compared.
  if (ascii.test(left) && ascii.test(right)) return left < right ? -1 : left > right ? 1 : 0;
  return Buffer.compare(Buffer.from(left), Buffer.from(right));
}

/** Percent-escapes all but RFC 3986's unreserved characters, as S3's signature does. */
export function escapePath(key: string): string {
  return encodeURIComponent(key)
    .replaceAll("%2F", "/")
    .replaceAll(/[!'()*]/g, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`);
}

/** Where in the path of a web server's URL names belong, as the URL escapes it. */
export const placeholder = "%7Bname%7D";

const hasPlaceholder = (url: string): boolean => /^https?:/.test(url) && url.includes(placeholder);

/** The URL of an object at the destination of a URL. */
export const urlOfObject = (url: string, name: string): string =>
  hasPlaceholder(url) ? url.replace(placeholder, name) : `${url.replace(/\/*$/, "")}/${name}`;

/** The URL by which a folder there is read back. A bundle has one, and is read as a whole. */
export function urlOfFolder(url: string, folder: string): string {
  if (url.startsWith("tar:")) return url;
  return urlOfObject(url, hasPlaceholder(url) ? `${folder}/${placeholder}` : folder);
}
