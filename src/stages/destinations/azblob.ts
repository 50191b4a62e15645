/**
 * Destination `azblob:` · block blobs below a prefix of a container in Azure Storage.
 *
 * takes / gives  whole objects, one Put Blob each; pieces as they arrive back
 * holds          one listing answer (500 names) while listing; otherwise what the sockets buffer
 * order          puts may run side by side; `list` is in name order, checked
 * ends           a put returns when the service's MD5, or its copy read back, agrees with the bytes sent
 * fails          `destination-unreachable` and `destination-failed` (try again), `destination-refused`, `foreign-object`
 */
import { azblobDialect, azblobLister } from "./azblob-dialect.ts";
import { connect } from "./azblob-request.ts";
import { targetOf } from "./azblob-target.ts";
import type { DestinationOptions } from "./destination.ts";
import type { Session } from "./http-dialect.ts";
import { put } from "./http-put.ts";
import { get } from "./http-read.ts";
import { remove } from "./http-remove.ts";
import { list } from "./key-listing.ts";
import { type RetryPolicy, patience } from "./retry.ts";
import type { Probed } from "./store-probe.ts";

/** Opens a container's prefix. @throws PipelineError `config-invalid` for missing credentials or a wrong endpoint. */
export const openAzblob = async (
  url: URL,
  options: DestinationOptions,
  policy: RetryPolicy = patience,
): Promise<Probed> => {
  const target = targetOf(url, options.azblob ?? {}, process.env);
  const { keyPrefix } = target;
  const connection = connect(target, options.timeoutMillis);
  // Every Azure endpoint honours conditions, so none is put to the test.
  const session: Session = { connection, dialect: azblobDialect, policy, conditional: true };
  return {
    url: url.href,
    identity: `${target.origin.href} ${target.basePath} ${keyPrefix}`,
    put: (object, signal) => put(session, object, signal),
    get: (name, signal) => get(session, name, signal),
    list: (folder, signal) => list(session, azblobLister, { keyPrefix, folder }, signal),
    remove: (name, signal) => remove(session, name, signal),
    finish: async () => {},
    close: async () => connection.close(),
  };
};
