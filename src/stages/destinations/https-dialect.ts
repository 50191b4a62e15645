/**
 * How a web server is asked to keep objects: PUT as RFC 9110 has it, digests as in RFC 9530, folders as in WebDAV
 * (RFC 4918) where the server wants them made first.
 */
import { createHash } from "node:crypto";
import type { Dialect } from "./http-dialect.ts";
import { called } from "./https-target.ts";

export const httpsDialect: Dialect = {
  called,
  whereabouts: "the URL",
  redirected: "the URL",
  async headersOf({ name, sha256, traceparent }) {
    const digest = Buffer.from(sha256);
    const key = createHash("sha256").update(`${name}\0`).update(digest).digest("hex");
    return {
      "content-digest": `sha-256=:${digest.toString("base64")}:`,
      // The same for each attempt to store these bytes under this name, and for no other.
      "idempotency-key": `"${key}"`,
      ...(traceparent === undefined ? {} : { traceparent }),
    };
  },
  askingHeaders: { "want-repr-digest": "sha-256=10" },
  claimOf,
  compare(answer, parcel) {
    const claim = claimOf(answer, parcel);
    return claim === "none" ? "unsure" : claim === "right" ? "equal" : "different";
  },
  codeOf: () => "",
  credentialCodes: new Set(),
  damageCodes: new Set(),
  // A conflict that making folders did not end is one of names.
  isTaken: ({ status }) => status === 412 || status === 409,
  isMissing: ({ status }) => status === 404 || status === 410,
  lacksConditions: ({ status }) => status === 501,
  async makeFolders(connection, name, signal) {
    for (const folder of foldersOf(name)) {
      const answer = await connection.send({ method: "MKCOL", name: folder }, signal);
      answer.drop();
    }
  },
};

/** The destination's own folder, then each on the way to the name. */
function foldersOf(name: string): string[] {
  const folders = name.split("/").slice(0, -1);
  return ["", ...folders.map((_, depth) => `${folders.slice(0, depth + 1).join("/")}/`)];
}

/** What the server says of the bytes it keeps; most say nothing, and they are read back. */
function claimOf(...[answer, { checksum }]: Parameters<Dialect["claimOf"]>) {
  const digest = /(?:^|[\s,])sha-256=:([A-Za-z0-9+/=]{44}):/.exec(
    answer.header("repr-digest") ?? "",
  )?.[1];
  if (digest === undefined) return "none";
  return digest === checksum ? "right" : "wrong";
}
