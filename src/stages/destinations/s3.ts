/**
 * Destination `s3:` · objects below a prefix of a bucket, on Amazon S3 or any store that speaks it.
 *
 * takes / gives  whole objects, one plain PUT each; pieces as they arrive back
 * holds          one listing answer (500 keys) while listing; otherwise what the sockets buffer
 * order          puts may run side by side; `list` is in name order, checked
 * ends           a put returns when the store's ETag, or its copy read back, agrees with the bytes sent
 * fails          `destination-unreachable` and `destination-failed` (try again), `destination-refused`, `foreign-object`
 */
import type { Destination, DestinationOptions } from "./destination.ts";
import type { Session } from "./http-dialect.ts";
import { put } from "./http-put.ts";
import { get } from "./http-read.ts";
import { list } from "./key-listing.ts";
import { type RetryPolicy, patience } from "./retry.ts";
import { s3Dialect, s3Lister } from "./s3-dialect.ts";
import { remove } from "./http-remove.ts";
import { connect } from "./s3-request.ts";
import { targetOf } from "./s3-target.ts";

export interface S3Destination extends Destination {
  /** Whether the store honours `If-None-Match: *`; undefined before the first put. */
  readonly conditional: boolean | undefined;
}

/** Opens a bucket prefix. @throws PipelineError `config-invalid` for missing credentials or a wrong endpoint. */
export const openS3 = async (
  url: URL,
  options: DestinationOptions,
  policy: RetryPolicy = patience,
): Promise<S3Destination> => {
  const target = targetOf(url, options.s3 ?? {}, process.env);
  const connection = connect(target, options.timeoutMillis);
  const session: Session = { connection, dialect: s3Dialect, policy, conditional: undefined };
  return {
    url: url.href,
    identity: `${target.origin.href} ${target.basePath} ${target.keyPrefix}`,
    get conditional() {
      return session.conditional;
    },
    put: (object, signal) => put(session, object, signal),
    get: (name, signal) => get(session, name, signal),
    list: (folder, signal) =>
      list(session, s3Lister, { keyPrefix: target.keyPrefix, folder }, signal),
    remove: (name, signal) => remove(session, name, signal),
    finish: async () => {},
    close: async () => connection.close(),
  };
};
